package bench

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// scenePart is a part of a recording: so many rows under one disturbance.
type scenePart struct {
	name string // as it was written, without the count
	rows int
	// noise is the standard deviation of what is added to each pixel (0 … 1),
	// rising evenly from the first to the second over the part; brightness is what
	// pixels are multiplied by; shift is how far the picture is moved, in pixels,
	// in a random direction.
	noise      [2]float64
	brightness float64
	shift      int
}

// DefaultScene are the segments of a recording unless others are asked for.
const DefaultScene = "clean:5000,noise=0.25:5000,brightness=0.5:5000,shift=2:5000,clean:5000,ramp=0..0.35:10000"

// mostRows bounds a recording.
const mostRows = 10_000_000

// parseScene reads KIND[=VALUE]:ROWS,… with the kinds clean, noise, brightness,
// shift and ramp (of noise, FROM..TO).
func parseScene(text string) ([]scenePart, error) {
	var parts []scenePart
	total := 0
	for _, item := range strings.Split(text, ",") {
		item = strings.TrimSpace(item)
		bad := func(want string) error {
			return usagef("-segments: %q: want %s", item, want)
		}
		name, count, _ := strings.Cut(item, ":")
		rows, err := strconv.Atoi(count)
		if err != nil || rows < 1 || rows > mostRows {
			return nil, bad("KIND:ROWS or KIND=VALUE:ROWS with ROWS from 1 to 10,000,000")
		}
		p := scenePart{name: name, rows: rows, brightness: 1}
		kind, value, given := strings.Cut(name, "=")
		number := func(text string, most float64) (float64, bool) {
			v, err := strconv.ParseFloat(text, 64)
			return v, err == nil && v >= 0 && v <= most
		}
		ok := true
		switch kind {
		case "clean":
			if given {
				return nil, bad("clean without a value")
			}
		case "noise":
			if p.noise[0], ok = number(value, 10); !ok {
				return nil, bad("noise=DEVIATION, from 0 to 10")
			}
			p.noise[1] = p.noise[0]
		case "brightness":
			if p.brightness, ok = number(value, 10); !ok {
				return nil, bad("brightness=FACTOR, from 0 to 10")
			}
		case "shift":
			if p.shift, err = strconv.Atoi(value); err != nil || p.shift < 0 || p.shift > 28 {
				return nil, bad("shift=PIXELS, from 0 to 28")
			}
		case "ramp":
			from, to, ranged := strings.Cut(value, "..")
			var okTo bool
			p.noise[0], ok = number(from, 10)
			p.noise[1], okTo = number(to, 10)
			if !ranged || !ok || !okTo {
				return nil, bad("ramp=FROM..TO, deviations of noise from 0 to 10")
			}
		default:
			return nil, bad("clean, noise=, brightness=, shift= or ramp=")
		}
		if total += rows; total > mostRows {
			return nil, usagef("-segments: more than %d rows", mostRows)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// view is how one row shows its picture.
type view struct {
	picture    int     // of the data set
	noise      float64 // standard deviation
	still      uint64  // seeds the part of the noise that stays as long as the picture does
	stays      float64 // the share of the noise's variance that does
	brightness float64
	dx, dy     float64 // pixels
}

// Video moves slowly: the camera's offset and the light walk at random within
// bounds, and half of the noise stays with the picture.
const (
	videoStep   = 0.08 // pixels a frame, standard deviation
	videoShift  = 1.0  // pixels, at most
	videoLight  = 0.005
	videoDim    = 0.1 // the light stays within 1 ± this
	videoNoise  = 0.03
	videoStays  = 0.5
	sceneStream = 0x5ce17e5
)

// views plans a recording: which picture each row shows, and how. from and to
// bound the pictures that are used, in order or shuffled anew each time that all
// were shown; each stays for hold rows, with the camera moving if hold is more
// than 1.
func views(parts []scenePart, from, to, hold int, shuffle bool, seed uint64) []view {
	rng := rand.New(rand.NewPCG(seed, sceneStream))
	var order []int
	var all []view
	var x, y, light float64
	current := view{}
	angle := 0.0
	for _, p := range parts {
		for k := range p.rows {
			if len(all)%hold == 0 {
				if len(order) == 0 {
					for i := from; i < to; i++ {
						order = append(order, i)
					}
					if shuffle {
						rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
					}
				}
				current.picture, order = order[0], order[1:]
				current.still = rng.Uint64()
				angle = 2 * math.Pi * rng.Float64()
			}
			v := current
			v.brightness = p.brightness
			v.noise = p.noise[0] + (p.noise[1]-p.noise[0])*float64(k)/float64(max(1, p.rows-1))
			v.dx, v.dy = math.Round(float64(p.shift)*math.Cos(angle)), math.Round(float64(p.shift)*math.Sin(angle))
			if hold > 1 {
				x = bounce(x+videoStep*rng.NormFloat64(), videoShift)
				y = bounce(y+videoStep*rng.NormFloat64(), videoShift)
				light = bounce(light+videoLight*rng.NormFloat64(), videoDim)
				v.dx, v.dy, v.brightness = v.dx+x, v.dy+y, v.brightness*(1+light)
				v.noise, v.stays = math.Hypot(v.noise, videoNoise), videoStays
			}
			all = append(all, v)
		}
	}
	return all
}

// bounce keeps a walk within ± most.
func bounce(v, most float64) float64 {
	switch {
	case v > most:
		return max(-most, 2*most-v)
	case v < -most:
		return min(most, -2*most-v)
	}
	return v
}

// draw renders row i of a recording into dst: the picture moved, dimmed and
// with noise, pixels from 0 to 1.
func (p *pictures) draw(dst []float32, v *view, i int, seed uint64) {
	image := p.pixels[v.picture*p.height*p.width:][:p.height*p.width]
	at := func(y, x int) float64 {
		if y < 0 || x < 0 || y >= p.height || x >= p.width {
			return 0
		}
		return float64(image[y*p.width+x]) / 255
	}
	fresh := rand.New(rand.NewPCG(seed, uint64(i)))
	still := rand.New(rand.NewPCG(v.still, 0))
	stays, changes := v.noise*math.Sqrt(v.stays), v.noise*math.Sqrt(1-v.stays)
	fx, fy := math.Floor(-v.dx), math.Floor(-v.dy)
	ax, ay := -v.dx-fx, -v.dy-fy // the share of the right and the lower neighbour
	for y := range p.height {
		for x := range p.width {
			sy, sx := y+int(fy), x+int(fx)
			value := (1-ay)*((1-ax)*at(sy, sx)+ax*at(sy, sx+1)) + ay*((1-ax)*at(sy+1, sx)+ax*at(sy+1, sx+1))
			value *= v.brightness
			if stays > 0 {
				value += stays * still.NormFloat64()
			}
			if changes > 0 {
				value += changes * fresh.NormFloat64()
			}
			dst[y*p.width+x] = float32(min(1, max(0, value)))
		}
	}
}
