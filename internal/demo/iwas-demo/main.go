// Command iwas-demo runs a whole cafe on this machine; `make run` calls it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"iwas/internal/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP) // Ctrl-C, kill, a closed terminal
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "\nThe cafe could not be kept open:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	bench := false
	if len(args) > 0 && (args[0] == "run" || args[0] == "bench") {
		bench, args = args[0] == "bench", args[1:]
	}
	f := flag.NewFlagSet("iwas-demo run|bench", flag.ContinueOnError)
	o := demo.Options{Guests: true, Talk: os.Stdout}
	f.StringVar(&o.Dir, "dir", ".run", "folder for state, configuration and logs")
	f.StringVar(&o.Bin, "bin", "bin", "folder of the binaries")
	if err := f.Parse(args); err != nil {
		return err
	}
	if bench {
		return measure(ctx, o)
	}
	began := time.Now()
	fmt.Println("Opening a cafe on this machine:")
	cafe, err := demo.Start(ctx, o)
	if err != nil {
		return err
	}
	fmt.Printf("  ready after %s\n", time.Since(began).Round(10*time.Millisecond))
	fmt.Print(cafe.Guide())
	err = cafe.Wait(ctx)
	fmt.Println("\nClosing.")
	if serr := cafe.Stop(); err == nil {
		err = serr
	}
	return err
}

// measure prints how long locks take on this machine.
func measure(ctx context.Context, o demo.Options) (err error) {
	if o.Ports, err = demo.FreePorts(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "iwas-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.Dir, o.Guests, o.Talk = dir, false, nil
	return demo.BenchLocks(ctx, o, 500, 200, os.Stdout)
}
