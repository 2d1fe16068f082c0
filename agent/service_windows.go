package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kardianos/service"
	"golang.org/x/sys/windows/svc/eventlog"
)

// logFile is where a service of Windows writes its log: five files of 10 MB.
const logFile = dataDir + `\log\iwas-agent.log`

// asService runs the program, under the service control manager when that
// started us: it wants to hear that the service runs within 30 s, and says stop
// itself. Its log is in files then; that it ended by an error is in the event log.
func asService(ctx context.Context, talk io.Writer, run func(context.Context, io.Writer) error) error {
	if service.Interactive() {
		return run(ctx, talk)
	}
	files, err := openLogFiles(logFile, 10_000_000, 5)
	if err != nil {
		return errors.Join(err, tellEvents(fmt.Sprintf("iwas-agent cannot write its log: %v", err)))
	}
	p := &windowsService{run: func(ctx context.Context) error {
		err := run(ctx, files)
		if err != nil && ctx.Err() == nil {
			err = errors.Join(err, tellEvents(fmt.Sprintf("iwas-agent ended: %v", err)))
		}
		return err
	}}
	p.ctx, p.stop = context.WithCancel(ctx)
	s, err := service.New(p, &service.Config{Name: serviceName, DisplayName: "IWAS Agent"})
	if err != nil {
		return errors.Join(err, files.Close())
	}
	return errors.Join(s.Run(), p.err, files.Close())
}

// tellEvents writes an error into the event log.
func tellEvents(text string) error {
	l, err := eventlog.Open(serviceName)
	if err != nil {
		return err
	}
	return errors.Join(l.Error(1, text), l.Close())
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
