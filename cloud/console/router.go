package console

import (
	"cmp"
	"fmt"
	"html/template"
	"net/url"
	"strconv"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// routerView is how one of the site's routers does.
type routerView struct {
	Name    string
	Age     template.HTML // of the oldest figure; "" is none
	Figures []figure
	Nothing bool
	Setup   string // href of its set-up; "" where the person may not see it
	Note    string
}

type figure struct{ Icon, Name, Value, Note string }

// Routers are those the site told of.
func (b siteBody) Routers() (out []routerView) {
	for _, r := range b.Status.Routers {
		v := routerView{Name: cmp.Or(r.Name, string(r.NAS)), Figures: routerFigures(r)}
		v.Nothing = len(v.Figures) == 0
		if b.SeeRouters {
			v.Setup = "/sites/" + string(b.Status.Site.ID) + "/routers/" + url.PathEscape(string(r.NAS))
		}
		if r.Setup != nil && r.Setup.State == "waiting" {
			v.Note = "A new set-up waits to be confirmed"
		}
		if at := siteTime(b.Status, r.At); !at.IsZero() {
			v.Age = b.Clock.Ago(at)
		}
		out = append(out, v)
	}
	return out
}

func routerFigures(r hotspot.RouterHealth) (out []figure) {
	add := func(known bool, of func() figure) {
		if known {
			out = append(out, of())
		}
	}
	add(r.WANUp != nil, func() figure {
		if *r.WANUp {
			return figure{"cloud", "Internet", "Up", "a default route is active"}
		}
		return figure{"triangle-alert", "Internet", "Down", "no default route is active"}
	})
	add(r.Down != nil && r.Up != nil, func() figure {
		return figure{"arrow-down", "Traffic", flow(*r.Down), flow(*r.Up) + " up"}
	})
	add(r.CPU != nil, func() figure { return figure{"router", "Processor", percent(*r.CPU), "busy"} })
	add(r.Memory != nil, func() figure { return figure{"database", "Memory", percent(*r.Memory), "in use"} })
	add(r.PoolUsed != nil && r.PoolSize != nil, func() figure {
		return figure{"tag", "Addresses", fmt.Sprintf("%d of %d", *r.PoolUsed, *r.PoolSize), "given out to guests"}
	})
	add(r.Celsius != nil, func() figure {
		return figure{"sun-moon", "Temperature", strconv.FormatFloat(*r.Celsius, 'f', 0, 64) + " °C", "hottest sensor"}
	})
	add(r.Uptime != nil, func() figure { return figure{"clock", "Up for", webui.Duration(*r.Uptime), ""} })
	add(r.Foreign != nil && *r.Foreign > 0, func() figure {
		return figure{"user", "Not ours", strconv.Itoa(*r.Foreign), "online, and not let in by the box"}
	})
	return out
}

func percent(n int) string { return strconv.Itoa(n) + " %" }

// flow words a rate, where 0 is no traffic.
func flow(r hotspot.Rate) string {
	if r == 0 {
		return "0 bit/s"
	}
	return webui.Speed(r)
}
