package page

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// line is one line of a chart. A NaN interrupts it.
type line struct {
	name   string
	x, y   []float64
	dashed bool
}

// axis maps values to 0 … 1.
type axis struct {
	title  string
	at     func(float64) float64
	ticks  []float64
	format func(float64) string
}

func plain(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// linear is an axis from 0.
func linear(title string, most float64) axis {
	if !(most > 0) || math.IsInf(most, 1) {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, f := range []float64{0.2, 0.5} {
		if most/(step*f) <= 8 {
			step *= f
			break
		}
	}
	a := axis{title: title, at: func(v float64) float64 { return v / most }, format: plain}
	for i := 0.0; i*step <= most*1.0001; i++ {
		a.ticks = append(a.ticks, i*step)
	}
	return a
}

// logarithmic is an axis over the decades from least to most.
func logarithmic(title string, least, most float64) axis {
	if !(least > 0) || math.IsInf(least, 1) {
		least = 1
	}
	least = math.Pow(10, math.Floor(math.Log10(least)))
	most = math.Pow(10, math.Ceil(math.Log10(max(most, 10*least))))
	span := math.Log10(most / least)
	a := axis{title: title, at: func(v float64) float64 { return math.Log10(max(v, least)/least) / span }, format: plain}
	for v := least; v <= most*1.0001; v *= 10 {
		a.ticks = append(a.ticks, v)
	}
	return a
}

// nines is an axis of quantiles, 0 … 1, that gives every nine the same room.
func nines(title string) axis {
	const least = 1e-5
	a := axis{
		title: title, ticks: []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999},
		at: func(q float64) float64 { return math.Log10(max(1-q, least)) / math.Log10(least) },
	}
	a.format = func(q float64) string { return strconv.FormatFloat(math.Round(1e7*q)/1e5, 'f', -1, 64) + " %" }
	return a
}

// colours are told apart by most eyes (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a6d3b"}

const (
	chartWidth, chartHeight = 900, 320
	left, right, top, foot  = 70, 20, 16, 46
)

// chart draws lines as an SVG.
func chart(x, y axis, lines []line) template.HTML {
	px := func(v float64) float64 { return left + x.at(v)*(chartWidth-left-right) }
	py := func(v float64) float64 { return chartHeight - foot - y.at(v)*(chartHeight-foot-top) }
	var b strings.Builder
	rows := (len(lines) + 1) / 2
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img">`, chartWidth, chartHeight+18*rows)
	for _, t := range x.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, px(t), px(t), top, chartHeight-foot)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, px(t), chartHeight-foot+16, html.EscapeString(x.format(t)))
	}
	for _, t := range y.ticks {
		fmt.Fprintf(&b, `<line class="grid" y1="%.1f" y2="%.1f" x1="%d" x2="%d"/>`, py(t), py(t), left, chartWidth-right)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`, left-6, py(t)+4, html.EscapeString(y.format(t)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, (left+chartWidth-right)/2, chartHeight-10, html.EscapeString(x.title))
	fmt.Fprintf(&b, `<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`, (top+chartHeight-foot)/2, html.EscapeString(y.title))
	for i, l := range lines {
		colour := colours[i%len(colours)]
		dash := ""
		if l.dashed || i >= len(colours) {
			dash = ` stroke-dasharray="5 4"`
		}
		for _, points := range pieces(l, px, py) {
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.6"%s points="%s"/>`, colour, dash, points)
		}
		lx, ly := left+(i%2)*(chartWidth-left)/2, chartHeight+18*(i/2)+8
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="%s" stroke-width="2"%s/>`, lx, lx+22, ly-4, ly-4, colour, dash)
		fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`, lx+28, ly, html.EscapeString(l.name))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) // every text in it is escaped
}

// pieces are the line's stretches between NaNs, as points. A stretch of one
// point is drawn as a dot of a line.
func pieces(l line, px, py func(float64) float64) []string {
	var all []string
	var b strings.Builder
	n := 0
	end := func() {
		if n > 0 {
			all = append(all, b.String())
		}
		b.Reset()
		n = 0
	}
	for i := range l.x {
		x, y := px(l.x[i]), py(l.y[i])
		if math.IsNaN(x) || math.IsNaN(y) || math.IsInf(x, 0) || math.IsInf(y, 0) {
			end()
			continue
		}
		if n == 0 {
			fmt.Fprintf(&b, "%.1f,%.1f", x-1, y)
		}
		fmt.Fprintf(&b, " %.1f,%.1f", x, y)
		n++
	}
	end()
	return all
}
