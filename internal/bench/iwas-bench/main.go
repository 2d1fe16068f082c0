// Command iwas-bench measures RADIUS side by side with its peers; `make bench`
// calls it.
//
//	iwas-bench run -agent FILE -test-agent FILE -fill FILE [-quick] [PART…]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"iwas/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "iwas-bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: iwas-bench run …; `make bench` knows how")
	}
	f := flag.NewFlagSet("iwas-bench "+args[0], flag.ContinueOnError)
	switch args[0] {
	case "run":
		return measure(ctx, f, args[1:])
	case "echo": // a child of run
		listen := f.String("listen", "", "where")
		if err := f.Parse(args[1:]); err != nil {
			return err
		}
		return bench.Echo(*listen)
	case "disk": // a child of run
		var slow bench.Slow
		image, at := f.String("image", "", "the disk's content"), f.String("at", "", "folder to serve it in")
		f.DurationVar(&slow.Flush, "flush", 0, "time of a flush")
		f.IntVar(&slow.IOPS, "iops", 0, "writes a second; 0 is no bound")
		if err := f.Parse(args[1:]); err != nil {
			return err
		}
		return bench.ServeDisk(*image, *at, slow)
	}
	return fmt.Errorf("there is no %q", args[0])
}

func measure(ctx context.Context, f *flag.FlagSet, args []string) (err error) {
	o := bench.Options{Out: os.Stdout}
	f.StringVar(&o.Agent, "agent", "bin/iwas-agent", "the program under measurement")
	f.StringVar(&o.TestAgent, "test-agent", "", "the same built with the tag e2e")
	f.StringVar(&o.Fill, "fill", "", "agent/store/fill, built")
	f.BoolVar(&o.Quick, "quick", false, "shorter, for a look")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.Self, err = os.Executable(); err != nil {
		return err
	}
	for _, a := range f.Args() {
		o.Parts = append(o.Parts, strings.Fields(a)...)
	}
	began := time.Now()
	if err := bench.Run(ctx, o); err != nil {
		return err
	}
	fmt.Printf("measured in %s\n", time.Since(began).Round(time.Second))
	return nil
}
