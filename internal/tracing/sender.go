package tracing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// sender sends spans by OTLP over HTTP, in protobuf. It is the client of the official
// exporter, which makes them what goes over the wire; the official client would bring
// gRPC along.
type sender struct {
	client  *http.Client
	url     string
	headers map[string]string
	timeout time.Duration
	log     *slog.Logger
	export  *otlptrace.Exporter
	ctx     context.Context
	abort   context.CancelFunc

	sent, dropped atomic.Uint64 // spans
	rejected      uint64        // of the last that were sent
	failures      int           // in a row
	refused       bool          // the last that were sent
}

func newSender(cfg *Config) (*sender, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("cannot use the endpoint %q: want http://host:port or https://…", cfg.Endpoint)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	s := &sender{client: cfg.Client, url: u.String(), headers: cfg.Headers, timeout: cfg.Timeout, log: cfg.Log}
	if s.client == nil {
		s.client = &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: 30 * time.Second},
			// Spans, and the headers' secrets, go to nobody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	s.export = otlptrace.NewUnstarted(s)
	s.ctx, s.abort = context.WithCancel(context.Background())
	return s, nil
}

// Start implements otlptrace.Client.
func (s *sender) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (s *sender) Stop(context.Context) error { return nil }

// send sends spans and waits for the answer.
func (s *sender) send(all []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	return s.export.ExportSpans(ctx, all)
}

// UploadTraces implements otlptrace.Client.
func (s *sender) UploadTraces(ctx context.Context, all []*wire.ResourceSpans) error {
	s.rejected = 0
	// On the wire this is the same as the collector's ExportTraceServiceRequest.
	body, err := proto.Marshal(&wire.TracesData{ResourceSpans: all})
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	q.Header.Set("Content-Type", "application/x-protobuf")
	q.Header.Set("User-Agent", "motley")
	for name, value := range s.headers {
		q.Header.Set(name, value)
	}
	resp, err := s.client.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("the collector answers %s", resp.Status)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%w: %s", errRefused, resp.Status)
	}
	if err != nil {
		return nil // it took them
	}
	s.rejected = rejected(answer)
	return nil
}

// rejected reads how many spans the collector did not take, out of an
// ExportTraceServiceResponse: field 1 of its field 1.
func rejected(answer []byte) uint64 {
	inner, ok := field(answer, protowire.BytesType)
	if !ok {
		return 0
	}
	message, n := protowire.ConsumeBytes(inner)
	if n < 0 {
		return 0
	}
	if inner, ok = field(message, protowire.VarintType); !ok {
		return 0
	}
	count, n := protowire.ConsumeVarint(inner)
	if n < 0 {
		return 0
	}
	return count
}

// field finds field 1 of a message.
func field(message []byte, kind protowire.Type) (value []byte, ok bool) {
	for len(message) > 0 {
		number, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, false
		}
		message = message[n:]
		if number == 1 && typ == kind {
			return message, true
		}
		if n = protowire.ConsumeFieldValue(number, typ, message); n < 0 {
			return nil, false
		}
		message = message[n:]
	}
	return nil, false
}

// waits reports whether the collector is left alone for a while.
func (s *sender) waits() bool { return s.failures > 0 }

// note takes in what came of sending n spans, and returns how long to wait before they are
// sent again; 0 = they are not. The log is told when that changes.
func (s *sender) note(err error, n int) (wait time.Duration) {
	refused := errors.Is(err, errRefused)
	switch {
	case err == nil:
		lost := min(s.rejected, uint64(n))
		s.sent.Add(uint64(n) - lost)
		s.dropped.Add(lost)
		refused = lost > 0
		if refused {
			err = errors.New("the collector took not all")
		}
	case refused:
		s.dropped.Add(uint64(n))
	default:
		if s.failures++; s.failures == 1 {
			s.log.Warn("spans cannot be sent", "error", err, "lost", s.dropped.Load())
		}
		return backoff(s.failures)
	}
	if s.failures > 0 {
		s.log.Info("spans can be sent again", "lost", s.dropped.Load())
	}
	if refused && !s.refused {
		s.log.Warn("spans are refused", "error", err, "lost", s.dropped.Load())
	}
	s.failures, s.refused = 0, refused
	return 0
}
