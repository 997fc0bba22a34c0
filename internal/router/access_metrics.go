package router

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"motley/internal/access"
)

// outcome is what became of a tenant's request, in the metrics.
type outcome uint8

const (
	answered outcome = iota
	refused          // not now: 429 and 503
	mistaken         // the request's own fault: any other 4xx
	left             // its client did not wait for it
	failed           // any other 5xx
	outcomes
)

var outcomeNames = [outcomes]string{"answered", "refused", "mistaken", "left", "failed"}

func outcomeOf(status int) outcome {
	switch {
	case status < 400:
		return answered
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return refused
	case status == statusLeft:
		return left
	case status < 500:
		return mistaken
	}
	return failed
}

// accessMetrics counts who was not let in, and what became of each tenant's
// requests. Tenants are configured, never named by a client.
type accessMetrics struct {
	denied  [access.Bytes + 1]prometheus.Counter // by reason
	tenants [][outcomes]prometheus.Counter       // by index
}

func newAccessMetrics(r *registrar, tenants []string) accessMetrics {
	var m accessMetrics
	denied := r.counter("motley_access_denied_total", "Requests that were not let in, by reason.", "reason")
	for _, why := range access.Refusals() {
		m.denied[why] = denied.WithLabelValues(why.String())
	}
	if len(tenants) == 0 {
		return m
	}
	requests := r.counter("motley_tenant_requests_total", "Inference requests of clients that were let in, by tenant and what became of them.", "tenant", "outcome")
	m.tenants = make([][outcomes]prometheus.Counter, len(tenants))
	for i, name := range tenants {
		for o, text := range outcomeNames {
			m.tenants[i][o] = requests.WithLabelValues(name, text)
		}
	}
	return m
}

// ended counts one request of a tenant, unless nobody knows whose it was: of one with another
// method nobody asks.
func (m *accessMetrics) ended(tenant, status int) {
	if tenant < len(m.tenants) && status != http.StatusUnauthorized && status != http.StatusMethodNotAllowed {
		m.tenants[tenant][outcomeOf(status)].Inc()
	}
}
