package main

import (
	"context"
	"errors"

	"github.com/kardianos/service"
)

// serviceName is that of the Windows service.
const serviceName = "iwas-agent"

// asService runs the program, under the service control manager when that
// started us: it wants to hear that the service runs within 30 s, and says stop
// itself.
func asService(ctx context.Context, run func(context.Context) error) error {
	if service.Interactive() {
		return run(ctx)
	}
	p := &windowsService{run: run}
	p.ctx, p.stop = context.WithCancel(ctx)
	s, err := service.New(p, &service.Config{Name: serviceName, DisplayName: "IWAS Agent"})
	if err != nil {
		return err
	}
	return errors.Join(s.Run(), p.err)
}

// windowsService is the program as the service control manager sees it.
type windowsService struct {
	run  func(context.Context) error
	ctx  context.Context
	stop context.CancelFunc
	done chan struct{} // closed when run has returned
	err  error         // of run, once done
}

// Start returns at once; the work goes on beside it. A program that ends by
// itself stops the service, so that its recovery actions begin.
func (p *windowsService) Start(s service.Service) error {
	p.done = make(chan struct{})
	go func() {
		p.err = p.run(p.ctx)
		close(p.done)
		if p.ctx.Err() == nil {
			_ = s.Stop() // it may be on its way down already
		}
	}()
	return nil
}

// Stop ends the work and waits for it.
func (p *windowsService) Stop(service.Service) error {
	p.stop()
	<-p.done
	return nil
}
