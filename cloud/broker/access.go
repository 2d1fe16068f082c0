package broker

import (
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"iwas/internal/wire"
)

const ours = "iwas/" // everything the cloud's own client may touch

// mayPublish reports whether the peer may publish to the topic.
func (p *peer) mayPublish(topic string) bool {
	if p.cloud {
		return strings.HasPrefix(topic, ours)
	}
	for _, c := range [...]wire.Channel{wire.UpEvents, wire.UpHello, wire.UpPresence} {
		if topic == wire.Topic(p.agent, c) {
			return true
		}
	}
	return false
}

// mayReceive reports whether the peer may subscribe to the filter, or be sent
// a message of that topic. An agent's filters stay below its own down/, in any
// form MQTT allows there; shared ones could only take messages from itself.
func (p *peer) mayReceive(filter string) bool {
	if p.cloud {
		if rest, shared := strings.CutPrefix(filter, "$share/"); shared {
			_, filter, _ = strings.Cut(rest, "/")
		}
		return strings.HasPrefix(filter, ours)
	}
	own := strings.TrimSuffix(wire.Topic(p.agent, wire.DownAck), "ack")
	switch rest, found := strings.CutPrefix(filter, own); {
	case !found:
		return false
	case rest == "#", rest == "+":
		return true
	default:
		_, c, err := wire.ParseTopic(filter)
		return err == nil && (c == wire.DownAck || c == wire.DownState || c == wire.DownCommands)
	}
}

// ownsClientID reports whether the client id is the peer's to use: a second
// connection with the same id throws the first out, so nobody may take
// another's. Agent ids hold no dash, which makes the prefix unambiguous.
func (p *peer) ownsClientID(id string) bool {
	if p.cloud {
		return strings.HasPrefix(id, "cloud-")
	}
	return id == string(p.agent) || strings.HasPrefix(id, string(p.agent)+"-")
}

// hook is where mochi asks.
type hook struct {
	mqtt.HookBase
	broker *Broker
	server *mqtt.Server
}

// ID names the hook.
func (h *hook) ID() string { return "iwas" }

// Provides lists what mochi should ask this hook.
func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPublish, mqtt.OnPublishDropped,
		mqtt.OnSessionEstablished, mqtt.OnDisconnect:
		return true
	}
	return false
}

// OnConnectAuthenticate judges a CONNECT packet.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return false
	}
	if reason := h.refuse(p, pk); reason != "" {
		h.broker.logRefusal("CONNECT: "+reason, p, pk.Connect.WillTopic)
		return false
	}
	h.clear(pk.Connect.ClientIdentifier)
	if p.seated != nil {
		p.seated()
	}
	return true
}

// refuse returns why a CONNECT is not taken, or "".
func (h *hook) refuse(p *peer, pk packets.Packet) string {
	switch keep := pk.Connect.Keepalive; {
	case !p.cloud && p.agent == "":
		return "the name in the certificate is not an agent's id"
	case !p.cloud && !h.broker.o.Allowed(p.agent):
		return "agent is revoked, replaced or unknown"
	case !p.ownsClientID(pk.Connect.ClientIdentifier):
		return "client id belongs to another"
	case pk.ProtocolVersion != 4:
		return "not MQTT 3.1.1"
	case !pk.Connect.Clean:
		return "session is not clean"
	case keep == 0 || keep > maxKeepAlive:
		return "keep-alive is missing or too long"
	// mochi publishes a last will without asking OnACLCheck.
	case pk.Connect.WillFlag && !p.mayPublish(pk.Connect.WillTopic):
		return "last will on a topic of another"
	case pk.Connect.WillFlag && len(pk.Connect.WillPayload) > maxRetained:
		return "last will is too long"
	}
	return ""
}

// clear ends an older connection of the same client id and waits until mochi
// has forgotten it. mochi's own takeover (v2.7.9 attachClient) lets the old
// connection's clean-up race with the new one's subscriptions: the loser is
// connected and deaf.
func (h *hook) clear(id string) {
	old, there := h.server.Clients.Get(id)
	if !there {
		return
	}
	old.Stop(packets.ErrSessionTakenOver)
	for deadline := time.Now().Add(takeoverWait); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if now, there := h.server.Clients.Get(id); !there || now != old {
			return
		}
	}
}

// OnACLCheck judges one topic or filter. A refused subscription is answered by
// 0x80, a refused publish is dropped (QoS 0) or ends the connection (QoS 1).
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return false
	}
	allowed, what := p.mayReceive(topic), "subscribe"
	if write {
		allowed, what = p.mayPublish(topic), "publish"
	}
	if !allowed {
		h.broker.logRefusal(what, p, topic)
	}
	return allowed
}

// OnPublish bounds what the broker has to keep: one small presence per agent.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return pk, packets.ErrRejectPacket
	}
	if !pk.FixedHeader.Retain {
		return pk, nil
	}
	if _, c, err := wire.ParseTopic(pk.TopicName); err != nil || c != wire.UpPresence || len(pk.Payload) > maxRetained {
		h.broker.logRefusal("retained message", p, pk.TopicName)
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

// OnPublishDropped is told that maxPending messages wait for one client. An
// agent that slow is cut: its cursors bring it up to date when it returns.
func (h *hook) OnPublishDropped(cl *mqtt.Client, pk packets.Packet) {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return
	}
	h.broker.logRefusal("slow reader", p, pk.TopicName)
	if !p.cloud {
		cl.Stop(packets.ErrPendingClientWritesExceeded)
	}
}

// OnSessionEstablished logs a connect.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	if p, ok := cl.Net.Conn.(*peer); ok && !p.cloud {
		h.broker.o.Log.Info("broker: agent connected", "agent", p.agent, "client_id", cl.ID, "remote", p.RemoteAddr().String())
	}
}

// OnDisconnect logs a loss.
func (h *hook) OnDisconnect(cl *mqtt.Client, err error, _ bool) {
	if p, ok := cl.Net.Conn.(*peer); ok && !p.cloud {
		h.broker.o.Log.Info("broker: agent disconnected", "agent", p.agent, "client_id", cl.ID, "err", err)
	}
}
