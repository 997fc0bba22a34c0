package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Target is the latency that the model's requests are to meet.
const Target = 500 * time.Millisecond

// maxBatch is how many rows a worker takes at once.
const maxBatch = 32

// latencies are what the workers take. A pool of two fast and two slow ones
// carries some 1,400 rows a second: more than two cores would mind, and few
// enough for batches to form.
const latencies = `model,instance_type,batch,mean_ms,p99_ms
m,fast,1,10,13
m,fast,8,24,30
m,fast,32,60,75
m,slow,1,22,28
m,slow,8,60,75
m,slow,32,170,210
`

// Binaries are the programs that run.
type Binaries struct{ Router, Bench string }

// Build builds them into a directory, unless ROUTER and BENCH name them.
func Build(dir string) (Binaries, error) {
	b := Binaries{os.Getenv("ROUTER"), os.Getenv("BENCH")}
	for _, one := range []struct {
		to  *string
		pkg string
	}{{&b.Router, "router"}, {&b.Bench, "bench"}} {
		if *one.to != "" {
			continue
		}
		*one.to = filepath.Join(dir, one.pkg)
		if out, err := exec.Command("go", "build", "-o", *one.to, "motley/cmd/"+one.pkg).CombinedOutput(); err != nil {
			return b, fmt.Errorf("cannot build %s: %w: %s", one.pkg, err, out)
		}
	}
	return b, nil
}

// Options say what a world is like.
type Options struct {
	Types   []string // of the workers; none: fast, fast, slow, slow
	Proxied bool     // whether a fault proxy stands before each worker
	Seed    uint64
	Config  string   // lines that the router's configuration has besides
	Remote  string   // fields that each worker's remote section has besides, "a: 1, b: 2"
	Wrap    []string // a command that runs the router, as arguments before it
	Env     []string // of the router
}

// World is a router, its workers, and what lies between.
type World struct {
	Options
	Router  *Process
	Address string // of the router
	Admin   string // where it tells of itself
	Workers []*Worker
	dir     string
	config  string
	help    string // what the router says of itself
}

// Worker is an emulated worker, a process of its own.
type Worker struct {
	*Process
	Type    string
	Address string
	Proxy   *Proxy // nil: there is none
}

// NewWorld starts a world, and returns it when its router is ready. What it
// writes goes to the directory.
func NewWorld(b Binaries, dir string, o Options) (*World, error) {
	if len(o.Types) == 0 {
		o.Types = []string{"fast", "fast", "slow", "slow"}
	}
	w := &World{Options: o, dir: dir, config: filepath.Join(dir, "router.yaml")}
	csv := filepath.Join(dir, "latencies.csv")
	if err := os.WriteFile(csv, []byte(latencies), 0o600); err != nil {
		return nil, err
	}
	ports, err := freePorts(2 + 2*len(o.Types))
	if err != nil {
		return nil, err
	}
	for i, kind := range o.Types {
		one := &Worker{Type: kind, Address: ports[i], Process: &Process{
			Name: fmt.Sprintf("w%d", i), Log: filepath.Join(dir, fmt.Sprintf("w%d.log", i)),
		}}
		one.Args = []string{
			b.Bench, "workers", "-q", "-profiles", csv, "-model", model, "-mix", kind + "=1", "-listen", one.Address,
			"-input", fmt.Sprintf("x:INT64:%d", columns), "-input", "t:BYTES:1", "-output", fmt.Sprintf("y:INT64:%d", columns), "-output", "u:BYTES:1",
			"-seed", fmt.Sprint(o.Seed + uint64(i)),
		}
		if o.Proxied {
			if one.Proxy, err = NewProxy(ports[len(o.Types)+i], one.Address, o.Seed<<8+uint64(i)); err != nil {
				return nil, errors.Join(err, w.Close())
			}
		}
		w.Workers = append(w.Workers, one)
		if err := one.Start(); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	w.Address, w.Admin = ports[2*len(o.Types)], ports[2*len(o.Types)+1]
	w.Router = &Process{Name: "router", Log: filepath.Join(dir, "router.log"), Env: o.Env}
	w.Router.Args = append(append([]string{}, o.Wrap...), b.Router, "-config", w.config)
	help, err := exec.Command(b.Router, "-h").Output()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot run the router: %w", err), w.Close())
	}
	if w.help = string(help); strings.Contains(w.help, "-admin ") {
		w.Router.Args = append(w.Router.Args, "-admin", w.Admin)
	} else {
		w.Admin = w.Address
	}
	if err := w.Configure(w.Workers); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if err := w.Router.Start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if err := w.Ready(10 * time.Second); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Configure writes the router's configuration, with these workers, as a whole.
func (w *World) Configure(workers []*Worker) error {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: %q\nlog: {level: info}\nlimits: {drain_timeout: 10s}\nmodels:\n  - name: %s\n    qos: {target: %v}\n    max_batch: %d\n    batched: true\n",
		w.Address, model, Target, maxBatch)
	b.WriteString("profiles: [latencies.csv]\ninstance_types: [{name: fast}, {name: slow}]\n")
	b.WriteString(w.Config)
	b.WriteString("workers:\n")
	for _, one := range workers {
		at := one.Address
		if one.Proxy != nil {
			at = one.Proxy.Address()
		}
		more := w.Remote
		if more == "" {
			more = "timeout: 1s, probe_interval: 200ms"
		}
		fmt.Fprintf(&b, "  - {name: %s, type: %s, remote: {url: %q, %s}}\n", one.Name, one.Type, "http://"+at, more)
	}
	next := w.config + ".next"
	if err := os.WriteFile(next, []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(next, w.config)
}

// Ready waits until the router and its workers are ready.
func (w *World) Ready(within time.Duration) error {
	for deadline := time.Now().Add(within); ; {
		err := w.readyNow()
		switch {
		case err == nil:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("not ready after %v: %w; the router says: %s", within, err, w.Log("router"))
		}
		Wait(20 * time.Millisecond)
	}
}

func (w *World) readyNow() error {
	for _, one := range w.Workers {
		if _, err := get("http://" + one.Address + "/v2/health/ready"); err != nil {
			return err
		}
	}
	if _, err := get("http://" + w.Address + "/v2/health/ready"); err != nil {
		return err
	}
	m, err := w.Metrics()
	if err != nil {
		return err
	}
	if up := m.Sum("motley_worker_up"); int(up) != len(w.Workers) {
		return fmt.Errorf("%v of %d workers are up", up, len(w.Workers))
	}
	return nil
}

// Faults puts faults in the place of those that a worker has: lines as
// fleet.ParseFault reads them, without the worker.
func (one *Worker) Faults(lines ...string) error {
	body := ""
	for _, l := range lines {
		body += "all," + l + "\n"
	}
	resp, err := http.Post("http://"+one.Address+"/emulated/faults", "text/plain", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s does not take the faults %q: %s", one.Name, lines, text)
	}
	return nil
}

// Log is the end of what a process has printed.
func (w *World) Log(name string) string {
	b, err := os.ReadFile(filepath.Join(w.dir, name+".log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// Close ends everything. It returns an error where the router does not end by
// itself.
func (w *World) Close() error {
	var err error
	if w.Router != nil && w.Router.Ended() != nil {
		err = w.Router.Stop(15 * time.Second)
		err = errors.Join(err, w.stopOthers(15*time.Second))
	}
	for _, one := range w.Workers {
		one.Signal(syscall.SIGCONT)
		one.Kill()
		if one.Proxy != nil {
			err = errors.Join(err, one.Proxy.Close())
		}
	}
	return err
}

// Wait waits: what injuries do takes time.
func Wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

var plainClient = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// get gets a page.
func get(url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := plainClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", url, resp.Status, b)
	}
	return b, err
}

// nextPort goes round below the range that the system gives to those that
// connect, so that worlds do not have each other's ports.
var nextPort atomic.Uint32

// freePorts are addresses of loopback that nobody listens on.
func freePorts(n int) (all []string, err error) {
	const first, count = 20000, 12000
	for tries := 0; len(all) < n && tries < count; tries++ {
		address := fmt.Sprintf("127.0.0.1:%d", first+(uint32(os.Getpid())*31+nextPort.Add(1))%count)
		ln, e := net.Listen("tcp", address)
		if e != nil {
			err = e
			continue
		}
		_ = ln.Close()
		all = append(all, address)
	}
	if len(all) < n {
		return nil, fmt.Errorf("there are not %d free ports: %w", n, err)
	}
	return all, nil
}
