package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"motley/internal/load"
)

//go:embed page.html
var pageHTML string

// Options say what else the page tells.
type Options struct {
	Title   string
	USDPerH float64 // what the servers cost; 0: not told
}

// view is what the template shows.
type view struct {
	Title   string
	Notes   []string
	CDF     template.HTML
	Goodput template.HTML // empty: one rate only
	Times   []timeView
	Head    []string
	Rows    [][]string
	Errors  table
	Exits   []exitView
	Paste   string
}

type table struct {
	Head []string
	Rows [][]string
}

type timeView struct {
	Name      string
	Rate, P99 template.HTML
}

type exitView struct {
	Name  string
	Parts []exitPart
}

type exitPart struct {
	Exit    string
	Count   int
	Percent float64
	Colour  string
}

// Write writes the page.
func (c *Collector) Write(w io.Writer, opt Options) error {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("BUG: page: %w", err)
	}
	slices.SortStableFunc(c.series, func(a, b *series) int {
		switch {
		case a.rate < b.rate:
			return -1
		case a.rate > b.rate:
			return 1
		}
		return 0
	})
	v := view{Title: opt.Title, Notes: c.notes}
	v.CDF = c.cdf(&v)
	v.Goodput = c.goodput()
	for _, l := range c.timelines {
		v.Times = append(v.Times, l.view())
	}
	v.Head, v.Rows = c.table(opt)
	v.Errors = c.errors()
	v.Exits = c.exits()
	v.Paste = markdown(v.Head, v.Rows)
	return t.Execute(w, v)
}

// maxLines is how many lines a chart has at the most.
const maxLines = 16

// cdf draws the latencies.
func (c *Collector) cdf(v *view) template.HTML {
	var lines []line
	least, most := math.Inf(1), 0.0
	for _, s := range c.series {
		if s.tally.Latency.TotalCount() == 0 {
			continue
		}
		if len(lines) == maxLines {
			v.Notes = append(v.Notes, fmt.Sprintf("the latency chart has the first %d of %d rates", maxLines, len(c.series)))
			break
		}
		l := line{name: s.label()}
		for k := 0; k <= 100; k++ { // 20 points for every nine
			q := 1 - math.Pow(10, -float64(k)/20)
			if (1-q)*float64(s.tally.Latency.TotalCount()) < 1 && k > 0 {
				break // nothing was seen so far out
			}
			ms := float64(s.tally.Latency.ValueAtQuantile(100*q)) / 1e6
			l.x, l.y = append(l.x, ms), append(l.y, q)
			least, most = min(least, ms), max(most, ms)
		}
		lines = append(lines, l)
	}
	return chart(logarithmic("ms from the scheduled instant to the last byte", least, most), nines("answered within"), lines)
}

// goodput draws what is answered within QoS, or at all, by the rate.
func (c *Collector) goodput() template.HTML {
	var lines []line
	most, several := 0.0, false
	for _, s := range c.series {
		sum := s.tally.Summary()
		y, what := sum.AchievedQPS, "achieved"
		if sum.GoodputQPS != nil {
			y, what = *sum.GoodputQPS, fmt.Sprintf("within %g ms", s.qosMS)
		}
		name := fmt.Sprintf("%s %s %s, %s", s.file, s.target, s.models, what)
		i := slices.IndexFunc(lines, func(l line) bool { return l.name == name })
		if i < 0 {
			i = len(lines)
			lines = append(lines, line{name: name})
		}
		lines[i].x, lines[i].y = append(lines[i].x, s.rate), append(lines[i].y, y)
		several = several || len(lines[i].x) > 1
		most = max(most, s.rate, y)
	}
	if !several {
		return ""
	}
	lines = append(lines, line{name: "all that is asked for", x: []float64{0, most}, y: []float64{0, most}, dashed: true})
	return chart(linear("requests/s asked for", most), linear("requests/s", most), lines)
}

func (l *timeline) view() timeView {
	v := timeView{Name: l.file + " " + l.target}
	due, ok, no, p99 := line{name: "due", dashed: true}, line{name: "answered"}, line{name: "failed"}, line{name: "p99 of what was due then"}
	most, least, slowest := 0.0, math.Inf(1), 0.0
	for _, p := range l.points {
		for _, a := range []struct {
			l *line
			y float64
		}{{&due, p.due}, {&ok, p.answered}, {&no, p.no}, {&p99, p.p99}} {
			a.l.x, a.l.y = append(a.l.x, p.at), append(a.l.y, a.y)
		}
		most = max(most, p.due, p.answered, p.no)
		if p.p99 > 0 {
			least, slowest = min(least, p.p99), max(slowest, p.p99)
		}
	}
	x := linear("s, phases one after the other", l.end)
	v.Rate = chart(x, linear("requests/s", most), []line{ok, due, no})
	v.P99 = chart(x, logarithmic("ms", least, slowest), []line{p99})
	return v
}

func text(v *float64, digits int) string {
	if v == nil {
		return "–"
	}
	return strconv.FormatFloat(*v, 'g', digits, 64)
}

func share(v *float64) string {
	if v == nil {
		return "–"
	}
	return strconv.FormatFloat(100**v, 'f', 2, 64) + " %"
}

// table is the figures, a row for every rate and target.
func (c *Collector) table(opt Options) (head []string, rows [][]string) {
	head = strings.Split("file,target,model,rate/s,achieved/s,goodput/s,in QoS,mean ms,p50,p90,p95,p99,p99.9,p99.99,max,own p99 µs,failed,accuracy", ",")
	if opt.USDPerH > 0 {
		head = append(head, "USD per million")
	}
	for _, s := range c.series {
		u := s.tally.Summary()
		own := "–"
		if u.OwnP99MS != nil {
			own = plain(math.Round(*u.OwnP99MS * 1e3))
		}
		row := []string{s.file, s.target, s.models, plain(s.rate), plain(u.AchievedQPS), text(u.GoodputQPS, 5), share(u.QoSOK)}
		for _, ms := range []*float64{u.MeanMS, u.P50MS, u.P90MS, u.P95MS, u.P99MS, u.P999MS, u.P9999MS, u.MaxMS} {
			row = append(row, text(ms, 4))
		}
		row = append(row, own, strconv.Itoa(u.Scheduled-u.OK), share(u.Accuracy))
		if opt.USDPerH > 0 {
			good := u.AchievedQPS
			if u.GoodputQPS != nil {
				good = *u.GoodputQPS
			}
			row = append(row, cost(opt.USDPerH, good))
		}
		rows = append(rows, row)
	}
	return head, rows
}

// cost is what a million good answers cost at a rate of them.
func cost(usdPerH, perSecond float64) string {
	if !(perSecond > 0) {
		return "–"
	}
	return plain(usdPerH / (perSecond * 3600) * 1e6)
}

// errors is what failed, by kind and status.
func (c *Collector) errors() table {
	t := table{Head: []string{"file", "target", "rate/s"}}
	kinds := load.ErrorKinds()
	t.Head = append(append(t.Head, kinds...), "statuses")
	for _, s := range c.series {
		u := s.tally.Summary()
		if u.Scheduled == u.OK {
			continue
		}
		row := []string{s.file, s.target, plain(s.rate)}
		for _, k := range kinds {
			row = append(row, strconv.Itoa(u.Errors[k]))
		}
		var codes []string
		for code, n := range u.Statuses {
			codes = append(codes, fmt.Sprintf("%s: %d", code, n))
		}
		slices.Sort(codes)
		t.Rows = append(t.Rows, append(row, strings.Join(codes, ", ")))
	}
	return t
}

// exits is the answers by the exit that they name.
func (c *Collector) exits() (all []exitView) {
	for _, s := range c.series {
		if s.tally.Marked == 0 {
			continue
		}
		v := exitView{Name: s.label()}
		for e, n := range s.tally.Exits {
			if n > 0 {
				v.Parts = append(v.Parts, exitPart{strconv.Itoa(e), n, 100 * float64(n) / float64(s.tally.Marked), colours[e%len(colours)]})
			}
		}
		all = append(all, v)
	}
	return all
}

// markdown is the table as text to paste.
func markdown(head []string, rows [][]string) string {
	var b strings.Builder
	write := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	write(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, r := range rows {
		write(r)
	}
	return b.String()
}
