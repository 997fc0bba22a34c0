// Package gpu knows the hardware: this host's GPUs and processors, those of
// other hosts, and recordings of either. Package health judges them.
package gpu

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"motley/internal/gpu/device"
	"motley/internal/gpu/host"
	"motley/internal/gpu/nvml"
	"motley/internal/gpu/remote"
)

// Source is a way of knowing. Read lists the devices and samples each; it
// returns soon after ctx ends, whatever a driver or another host does. What
// can be said of single devices is in their samples, not in the error.
type Source interface {
	Read(ctx context.Context) (device.Page, error)
}

// Options say what to ask.
type Options struct {
	// Library is the path of NVML; empty: where the loader finds it.
	Library string
	// Agent and Exporter are pages of other hosts (/v1/devices of an agent;
	// /metrics of a DCGM exporter or a Triton server) to ask in place of this
	// one; at most one of them.
	Agent, Exporter string
	// Recorded is a file to play in place of this host.
	Recorded string
	// CAFile holds the certificates (PEM) that an agent or exporter is trusted by;
	// empty: the system's.
	CAFile string
}

// Open returns the source that the options ask for: by default this host's
// GPUs and processors.
func Open(opt Options) (Source, error) {
	client, err := trusting(opt.CAFile)
	if err != nil {
		return nil, err
	}
	switch {
	case opt.Agent != "" && opt.Exporter != "":
		return nil, fmt.Errorf("cannot ask an agent and an exporter at once")
	case opt.Agent != "":
		return remote.NewAgent(remote.Options{URL: opt.Agent, Client: client})
	case opt.Exporter != "":
		return remote.NewExporter(remote.Options{URL: opt.Exporter, Client: client})
	case opt.Recorded != "":
		return OpenRecording(opt.Recorded)
	}
	return &local{nvml.New(nvml.Options{Library: opt.Library}), host.New("/")}, nil
}

// trusting returns a client that trusts the certificates in the file, and follows
// no redirects; nil for no file.
func trusting(file string) (*http.Client, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot read certificates: %s has none (PEM is wanted)", file)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// local is this host.
type local struct {
	gpus *nvml.Source
	cpus *host.Source
}

// Read says in Missing what could not be asked, and fails only when ctx ends.
func (l *local) Read(ctx context.Context) (device.Page, error) {
	page, err := l.gpus.Read(ctx)
	if err != nil {
		page = device.Page{Missing: []string{err.Error()}}
	}
	if n := l.gpus.Hung(); n > 0 {
		page.Missing = append(page.Missing, fmt.Sprintf("%d calls have not come back from the driver", n))
	}
	cpus, err := l.cpus.Read(ctx)
	if err != nil {
		page.Missing = append(page.Missing, err.Error())
	}
	page.Devices = append(page.Devices, cpus.Devices...)
	page.Samples = append(page.Samples, cpus.Samples...)
	for i := range page.Devices {
		if page.Devices[i].Host == "" && len(cpus.Devices) > 0 {
			page.Devices[i].Host = cpus.Devices[0].Host
		}
	}
	return page, ctx.Err()
}

// Recorded replays a recording as if it began when it was opened.
type Recorded struct {
	rec   *device.Recording
	start time.Time
}

// OpenRecording reads a file of samples (see device.ReadRecording).
func OpenRecording(file string) (*Recorded, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot open recording: %w", err)
	}
	defer f.Close()
	rec, err := device.ReadRecording(file, f)
	if err != nil {
		return nil, err
	}
	return &Recorded{rec: rec, start: time.Now()}, nil
}

// Read returns what had been recorded by now.
func (r *Recorded) Read(ctx context.Context) (device.Page, error) {
	return r.rec.At(time.Since(r.start)), ctx.Err()
}
