package broker

import (
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"iwas/internal/hotspot"
)

func TestTopicRights(t *testing.T) {
	agent := &peer{agent: "agentone"}
	nobody := &peer{} // a certificate whose name is no agent's id
	cloud := &peer{cloud: true}
	const own = "iwas/v1/agents/agentone/"
	type rights struct{ agentWrites, agentReads, cloudBoth bool }
	for topic, want := range map[string]rights{
		own + "up/events":      {true, false, true},
		own + "up/hello":       {true, false, true},
		own + "up/presence":    {true, false, true},
		own + "up/other":       {false, false, true},
		own + "up/events/more": {false, false, true},
		own + "up/#":           {false, false, true},
		own + "down/ack":       {false, true, true},
		own + "down/state":     {false, true, true},
		own + "down/commands":  {false, true, true},
		own + "down/#":         {false, true, true},
		own + "down/+":         {false, true, true},
		own + "down/other":     {false, false, true},
		own + "down/+/x":       {false, false, true},
		own + "down":           {false, false, true},
		own + "#":              {false, false, true},

		"iwas/v1/agents/agenttwo/down/state":  {false, false, true},
		"iwas/v1/agents/agentone2/down/state": {false, false, true}, // ours is a prefix of it
		"iwas/v1/agents/+/down/state":         {false, false, true},
		"iwas/v1/agents/agenttwo/up/events":   {false, false, true},
		"iwas/#":                              {false, false, true},
		"#":                                   {false, false, false},
		"+/v1/agents/agentone/down/state":     {false, false, false},
		"$SYS/#":                              {false, false, false},
		"$share/g/" + own + "down/#":          {false, false, false}, // as a topic; as the cloud's filter see below
		"iwas":                                {false, false, false},
		"":                                    {false, false, false},
	} {
		if got := (rights{agent.mayPublish(topic), agent.mayReceive(topic), cloud.mayPublish(topic)}); got != want {
			t.Errorf("%q: got %+v, want %+v", topic, got, want)
		}
		if nobody.mayPublish(topic) || nobody.mayReceive(topic) {
			t.Errorf("%q: a peer without an agent id has a right", topic)
		}
	}
	for filter, want := range map[string]bool{
		"$share/cloud/iwas/v1/agents/+/up/#": true, "iwas/v1/agents/+/up/#": true, "iwas/#": true,
		"$share/cloud/#": false, "$share/cloud": false, "#": false, "$SYS/#": false,
	} {
		if got := cloud.mayReceive(filter); got != want {
			t.Errorf("cloud subscribes %q: got %v, want %v", filter, got, want)
		}
	}
}

func TestConnectIsJudged(t *testing.T) {
	b := &Broker{o: Options{Allowed: func(a hotspot.AgentID) bool { return a != "agentgone" }}}
	h := &hook{broker: b}
	good := func() packets.Packet {
		pk := packets.Packet{ProtocolVersion: 4}
		pk.Connect.ClientIdentifier, pk.Connect.Clean, pk.Connect.Keepalive = "agentone-boot", true, 20
		return pk
	}
	for _, test := range []struct {
		name  string
		peer  *peer
		edit  func(*packets.Packet)
		taken bool
	}{
		{"an agent", &peer{agent: "agentone"}, func(*packets.Packet) {}, true},
		{"an agent by its bare id", &peer{agent: "agentone"}, func(p *packets.Packet) { p.Connect.ClientIdentifier = "agentone" }, true},
		{"no agent id in the certificate", &peer{}, func(p *packets.Packet) { p.Connect.ClientIdentifier = "-x" }, false},
		{"a revoked agent", &peer{agent: "agentgone"}, func(p *packets.Packet) { p.Connect.ClientIdentifier = "agentgone-boot" }, false},
		{"client id of another", &peer{agent: "agenttwo"}, func(*packets.Packet) {}, false},
		{"client id that begins alike", &peer{agent: "agentone"}, func(p *packets.Packet) { p.Connect.ClientIdentifier = "agentone2-boot" }, false},
		{"client id of the cloud", &peer{agent: "agentone"}, func(p *packets.Packet) { p.Connect.ClientIdentifier = "cloud-1" }, false},
		{"no client id", &peer{agent: "agentone"}, func(p *packets.Packet) { p.Connect.ClientIdentifier = "" }, false},
		{"MQTT 5", &peer{agent: "agentone"}, func(p *packets.Packet) { p.ProtocolVersion = 5 }, false},
		{"a kept session", &peer{agent: "agentone"}, func(p *packets.Packet) { p.Connect.Clean = false }, false},
		{"no keep-alive", &peer{agent: "agentone"}, func(p *packets.Packet) { p.Connect.Keepalive = 0 }, false},
		{"a keep-alive of an hour", &peer{agent: "agentone"}, func(p *packets.Packet) { p.Connect.Keepalive = 3600 }, false},
		{"its own will", &peer{agent: "agentone"}, func(p *packets.Packet) {
			p.Connect.WillFlag, p.Connect.WillTopic = true, "iwas/v1/agents/agentone/up/presence"
		}, true},
		{"a will of another", &peer{agent: "agentone"}, func(p *packets.Packet) {
			p.Connect.WillFlag, p.Connect.WillTopic = true, "iwas/v1/agents/agenttwo/up/presence"
		}, false},
		{"a will that is too long", &peer{agent: "agentone"}, func(p *packets.Packet) {
			p.Connect.WillFlag, p.Connect.WillTopic, p.Connect.WillPayload = true, "iwas/v1/agents/agentone/up/presence", make([]byte, maxRetained+1)
		}, false},
		{"the cloud", &peer{cloud: true}, func(p *packets.Packet) { p.Connect.ClientIdentifier = "cloud-1" }, true},
		{"the cloud under an agent's id", &peer{cloud: true}, func(*packets.Packet) {}, false},
	} {
		pk := good()
		test.edit(&pk)
		if reason := h.refuse(test.peer, pk); (reason == "") != test.taken {
			t.Errorf("%s: got %q, want taken %v", test.name, reason, test.taken)
		}
	}
}
