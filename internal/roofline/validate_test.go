package roofline

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"motley/internal/pool"
)

// table reads a CSV of measurements, or skips the test: rows by column.
func table(t *testing.T, path string) []map[string]string {
	t.Helper()
	f, err := os.Open("../../../shared/data/" + path)
	if err != nil {
		t.Skipf("NOT CHECKED against %s: %v", path, err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, r := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = r[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// off is by what factor two estimates of a type are off, on average over sizes.
type off struct{ prior, slowest float64 }

// leaveOut takes each type of known hardware for one that was never measured, and
// predicts it as Priors and as pool.Slowest do. Types that get no prior are told by
// 0.
func leaveOut(c Cost, types []Type, sizes []int) []off {
	all := make([]off, len(types))
	for i := range types {
		if types[i].Device == nil {
			continue
		}
		others := slices.Clone(types)
		others[i].Profile = nil
		p := Priors(c, others, sizes[len(sizes)-1])[i]
		var known []*pool.Profile
		for k := range others {
			known = append(known, others[k].Profile)
		}
		slow := pool.Slowest(known, sizes[len(sizes)-1])
		var prior *pool.Profile
		if len(p.Points) > 0 {
			prior, _ = pool.NewProfile(p.Points)
		}
		sum := off{}
		for _, n := range sizes {
			took := float64(types[i].Profile.Mean(n))
			if prior != nil {
				sum.prior += math.Abs(math.Log(float64(prior.Mean(n)) / took))
			}
			sum.slowest += math.Abs(math.Log(float64(slow.Mean(n)) / took))
		}
		all[i].slowest = math.Exp(sum.slowest / float64(len(sizes)))
		if prior != nil {
			all[i].prior = math.Exp(sum.prior / float64(len(sizes)))
		}
	}
	return all
}

// summary is the average of what there is a prior for.
type summary struct {
	prior, slowest float64 // sums of logarithms
	n, better      int
}

func (s *summary) add(o off) {
	if o.prior == 0 {
		return
	}
	s.n++
	s.prior, s.slowest = s.prior+math.Log(o.prior), s.slowest+math.Log(o.slowest)
	if o.prior < o.slowest {
		s.better++
	}
}

func (s *summary) text() string {
	n := float64(s.n)
	return fmt.Sprintf("%d predictions: off by ×%.2f, the slowest other type by ×%.2f; better for %d", s.n, math.Exp(s.prior/n), math.Exp(s.slowest/n), s.better)
}

// The recommendation models of KAIROS and RIBBON as DeepRecSys configures them: the
// dense layers' multiply-adds, twice, and the rows that are gathered. Those that say
// "about" are not from its files.
var recommenders = map[string]Cost{
	"ncf":    {FLOPs: 2.2e5, Bytes: 4 * 64 * 4},
	"rm2":    {FLOPs: 6.4e5, Bytes: 32 * 120 * 64 * 4},
	"wnd":    {FLOPs: 4.1e6, Bytes: 27 * 32 * 4},
	"mtwnd":  {FLOPs: 6.4e6, Bytes: 41 * 32 * 4},
	"dien":   {FLOPs: 1e7, Bytes: 41 * 32 * 4}, // about
	"candle": {FLOPs: 3e7, Bytes: 2e4},         // about
}

// clouds say what the instance types are; the recommenders run on one core of each,
// as their latencies show, and candle on all.
var clouds = map[string]struct {
	device string
	cores  int
}{
	"g4dn.xlarge": {"T4", 0}, "g4dn.2xlarge": {"T4", 0},
	"c5n.2xlarge": {"skylake-3ghz", 4}, "c5.2xlarge": {"skylake-3ghz", 4}, "c5.4xlarge": {"skylake-3ghz", 8},
	"t3.xlarge": {"skylake", 2}, "t3.2xlarge": {"skylake", 4}, "m5.xlarge": {"skylake", 2}, "m5.2xlarge": {"skylake", 4},
	"r5.large": {"skylake", 1}, "r5.xlarge": {"skylake", 2},
	"r5n.large": {"cascadelake", 1}, "r5n.xlarge": {"cascadelake", 2}, "m5n.xlarge": {"cascadelake", 2}, "m5n.2xlarge": {"cascadelake", 4},
	"c5a.2xlarge": {"rome", 4}, "c5a.4xlarge": {"rome", 8},
}

// Latencies by batch size, each type predicted from the others.
func TestLeaveOneTypeOut(t *testing.T) {
	for _, data := range []string{"kairos", "ribbon"} {
		rows := table(t, data+"/latency_by_batch.csv")
		var models, names []string
		for _, r := range rows {
			if !slices.Contains(models, r["model"]) {
				models = append(models, r["model"])
			}
			if !slices.Contains(names, r["instance_type"]) {
				names = append(names, r["instance_type"])
			}
		}
		var text strings.Builder
		tab := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tab, "model\ttype\tprior is off by\tslowest other type by")
		var all summary
		for _, m := range models {
			var types []Type
			var sizes []int
			for _, name := range names {
				var points []pool.Point
				for _, r := range rows {
					if r["model"] == m && r["instance_type"] == name {
						points = append(points, pool.Point{Batch: int(number(t, r["batch"])), Mean: time.Duration(1e6 * number(t, r["mean_ms"]))})
					}
				}
				if len(points) == 0 {
					continue
				}
				slices.SortFunc(points, func(a, b pool.Point) int { return a.Batch - b.Batch })
				cloud := clouds[name]
				one := Type{Name: name, Device: Find(cloud.device), Count: 1, Profile: newProfile(t, points...)}
				if m == "candle" {
					one.Count = max(1, cloud.cores)
				}
				types = append(types, one)
				sizes = nil
				for _, pt := range points {
					sizes = append(sizes, pt.Batch)
				}
			}
			for i, o := range leaveOut(recommenders[m], types, sizes) {
				prior := "none"
				if o.prior > 0 {
					prior = fmt.Sprintf("×%.2f", o.prior)
				}
				fmt.Fprintf(tab, "%s\t%s\t%s\t×%.2f\n", m, types[i].Name, prior, o.slowest)
				all.add(o)
			}
		}
		_ = tab.Flush()
		t.Logf("%s:\n%s%s", data, &text, all.text())
		if n := float64(all.n); all.n < 10 || all.prior/n > 0.7*all.slowest/n || math.Exp(all.prior/n) > 1.6 {
			t.Errorf("%s: %s", data, all.text())
		}
	}
}

// accelerators are the names that MLPerf's systems give.
var accelerators = map[string]string{
	"NVIDIA T4": "T4", "NVIDIA L4": "L4", "NVIDIA A2": "A2", "NVIDIA A30": "A30", "NVIDIA A40": "A40", "NVIDIA L40": "L40", "NVIDIA L40S": "L40S",
	"NVIDIA A100-PCIe-80GB": "A100-PCIe-80GB", "NVIDIA A100-SXM-80GB": "A100-80GB",
	"NVIDIA H100-PCIe-80GB": "H100-PCIe", "NVIDIA H100-SXM-80GB": "H100", "NVIDIA H100-NVL-94GB": "H100-NVL", "NVIDIA H200-SXM-141GB": "H200",
}

// Offline throughput per accelerator of MLPerf Inference v3.0 and v4.1, closed
// division (median of the valid submissions; derived, not official), each GPU
// predicted from the others.
func TestLeaveOneGPUOut(t *testing.T) {
	rows := table(t, "mlperf_inference/per_accelerator.csv")
	// Operations of an item: ResNet-50 8.2·10⁹; BERT-large 2 · 302·10⁶ weights · 384
	// positions and attention; RetinaNet (ResNeXt-50, 800 × 800) about 3·10¹¹.
	costs := map[string]Cost{
		"resnet50": {FLOPs: 8.2e9, Fixed: 2.6e7, Precision: INT8}, "bert-99": {FLOPs: 2.46e11, Fixed: 3.4e8, Precision: INT8},
		"bert-99.9": {FLOPs: 2.46e11, Fixed: 6.8e8, Precision: FP16}, "retinanet": {FLOPs: 3e11, Fixed: 3.8e7, Precision: INT8},
	}
	var text strings.Builder
	tab := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "benchmark\tversion\tGPU\titems/s\tprior is off by\tslowest other GPU by")
	var all summary
	for _, benchmark := range []string{"resnet50", "bert-99", "bert-99.9", "retinanet"} {
		for _, version := range []string{"v3.0", "v4.1"} {
			var types []Type
			for _, r := range rows {
				d := Find(accelerators[r["accelerator"]])
				if r["benchmark"] != benchmark || r["version"] != version || r["scenario"] != "offline" || d == nil {
					continue
				}
				each := time.Duration(1e9 / number(t, r["median_per_accelerator_per_s"]))
				types = append(types, Type{Name: d.Name, Device: d, Profile: newProfile(t, pool.Point{Batch: 1, Mean: each}, pool.Point{Batch: 64, Mean: 64 * each})})
			}
			for i, o := range leaveOut(costs[benchmark], types, []int{64}) {
				prior := "none"
				if o.prior > 0 {
					prior = fmt.Sprintf("×%.2f", o.prior)
				}
				fmt.Fprintf(tab, "%s\t%s\t%s\t%.0f\t%s\t×%.2f\n", benchmark, version, types[i].Name, 64/types[i].Profile.Mean(64).Seconds(), prior, o.slowest)
				all.add(o)
			}
		}
	}
	_ = tab.Flush()
	t.Logf("\n%s%s", &text, all.text())
	if n := float64(all.n); all.n < 40 || math.Exp(all.prior/n) > 1.4 || math.Exp(all.slowest/n) < 3 {
		t.Error(all.text())
	}
}
