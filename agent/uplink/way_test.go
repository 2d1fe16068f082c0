package uplink

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"iwas/internal/condition"
	"iwas/internal/mqtttest"
)

// marks are how the rows of a way came out, by probe.
func marks(rows []condition.CheckRow) map[string]string {
	out := map[string]string{}
	for _, r := range rows {
		out[r.Probe] = string(r.State) + " " + r.Code
	}
	return out
}

// The steps to the cloud, against a real broker with the shipped access rules: each
// that fails is named, and what needs it is not asked.
func TestTheWayToTheCloud(t *testing.T) {
	m := mqtttest.StartMosquitto(t)
	stranger := mqtttest.NewCA(t, "stranger")
	now := time.Now()
	portal := httptest.NewServer(nil)
	defer portal.Close()
	for _, tc := range []struct {
		name string
		box  func(t *testing.T) *enrolled
		want map[string]string
	}{
		{"all is well", func(t *testing.T) *enrolled {
			return enrolledBox(t, m.Agents, m.Cloud, m.URL, now.Add(-time.Hour), now.Add(24*time.Hour))
		}, map[string]string{"cloud-identity": "ok ", "cloud-name": "ok ", "cloud-tcp": "ok ", "cloud-mqtt": "ok ", "cloud-https": "ok "}},
		{"signed by nobody the broker knows", func(t *testing.T) *enrolled {
			return enrolledBox(t, stranger, m.Cloud, m.URL, now.Add(-time.Hour), now.Add(24*time.Hour))
		}, map[string]string{"cloud-identity": "ok ", "cloud-name": "ok ", "cloud-tcp": "ok ", "cloud-mqtt": "fail CLD-103", "cloud-https": "ok "}},
		{"its certificate is over", func(t *testing.T) *enrolled {
			return enrolledBox(t, m.Agents, m.Cloud, m.URL, now.Add(-48*time.Hour), now.Add(-24*time.Hour))
		}, map[string]string{"cloud-identity": "fail CLD-111", "cloud-name": "ok ", "cloud-tcp": "ok ", "cloud-mqtt": "fail CLD-103", "cloud-https": "ok "}},
		{"a login page in between", func(t *testing.T) *enrolled {
			return enrolledBox(t, m.Agents, m.Cloud, "tls://"+portal.Listener.Addr().String(), now.Add(-time.Hour), now.Add(24*time.Hour))
		}, map[string]string{"cloud-identity": "ok ", "cloud-name": "ok ", "cloud-tcp": "ok ", "cloud-mqtt": "fail NET-103", "cloud-https": "ok "}},
		{"the cloud is away", func(t *testing.T) *enrolled {
			e := enrolledBox(t, m.Agents, m.Cloud, "tls://127.0.0.1:1", now.Add(-time.Hour), now.Add(24*time.Hour))
			e.door.Close()
			return e
		}, map[string]string{"cloud-identity": "ok ", "cloud-name": "ok ", "cloud-tcp": "fail CLD-101", "cloud-mqtt": "skipped ", "cloud-https": "fail CLD-101"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rows := Way(context.Background(), tc.box(t).dir, time.Now)
			for probe, want := range tc.want {
				if got := marks(rows)[probe]; got != want {
					t.Errorf("%s: got %q, want %q\n%+v", probe, got, want, rows)
				}
			}
			for _, r := range rows {
				if r.State == condition.Fail && (r.Next == "" || r.Cause == "" || r.Title == "") {
					t.Errorf("a person is left alone with %+v", r)
				}
			}
		})
	}
	if rows := Way(context.Background(), t.TempDir(), time.Now); len(rows) != 1 || rows[0].State != condition.Skipped {
		t.Errorf("a box without a cloud: %+v, want one row, skipped", rows)
	}
}
