package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"motley/internal/config"
	"motley/internal/fleet"
	"motley/internal/pool"
)

// configure writes a configuration with which the router serves by these
// workers, and the latencies beside it, in FILE.profiles.csv.
func (w *Workers) configure(p *workersPlan, servers []fleet.Server) error {
	prices, _, err := pricesOf(w.Prices)
	if err != nil {
		return err
	}
	profiles := w.Config + ".profiles.csv"
	if err := os.WriteFile(profiles, p.profiles(), 0o600); err != nil {
		return err // it names the file
	}
	if err := os.WriteFile(w.Config, w.yaml(p, servers, prices, filepath.Base(profiles)), 0o600); err != nil {
		return err
	}
	_, err = config.Load(w.Config) // names of types and models come from the user's files
	return err
}

// profiles are the measured latencies under the names that models are served
// by.
func (p *workersPlan) profiles() []byte {
	b := []byte("model,instance_type,batch,mean_ms,p99_ms\n")
	ms := func(d time.Duration) string { return strconv.FormatFloat(float64(d)/1e6, 'f', -1, 64) }
	for _, t := range p.mix.Types {
		i := slices.IndexFunc(p.Workers, func(w fleet.Worker) bool { return w.Type == t })
		if i < 0 {
			continue // none of it
		}
		for m, truth := range p.Workers[i].Truth {
			for _, point := range truth.Points() {
				b = fmt.Appendf(b, "%s,%s,%d,%s,%s\n", p.names[m].name, t, point.Batch, ms(point.Mean), ms(point.P99))
			}
		}
	}
	return b
}

func (w *Workers) yaml(p *workersPlan, servers []fleet.Server, prices []pool.Price, profiles string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Workers that bench workers emulates.\nlisten: %q\npolicy: %s\nmodels:\n", w.RouterListen, w.Policy)
	for i, m := range p.names {
		most := 0 // of rows in an execution, as in a simulation of the mix
		for _, one := range p.Workers {
			most = max(most, one.MaxBatch[i])
		}
		qos := w.QoS
		if qos == 0 {
			var err error
			if qos, err = defaultQoS(m.latencies); err != nil {
				qos = time.Second // the router's default
			}
		}
		fmt.Fprintf(&b, "  - name: %q\n    qos: {target: %v}\n    max_batch: %d\n    batched: true\n", m.name, dilated(qos, w.Dilate), most)
	}
	fmt.Fprintf(&b, "profiles: [%q]\ninstance_types:\n", profiles)
	for _, t := range p.mix.Types {
		usd := 0.0 // not priced
		if i := slices.IndexFunc(prices, func(p pool.Price) bool { return p.InstanceType == t }); i >= 0 {
			usd = prices[i].USDPerHour
		}
		fmt.Fprintf(&b, "  - {name: %q, usd_per_hour: %v}\n", t, usd)
	}
	b.WriteString("workers:\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "  - {name: %q, type: %q, concurrency: %d, remote: {url: %q, binary: %q}}\n", s.Worker, s.Type, w.Concurrency, s.URL, w.Binary)
	}
	return b.Bytes()
}
