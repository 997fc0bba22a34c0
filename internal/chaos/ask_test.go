package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// answered is what a worker answers to a request: its inputs under the outputs'
// names.
func answered(a *Ask) (body []byte, head int) {
	body, head = a.body()
	text := string(body[:head])
	text = strings.NewReplacer(`"inputs"`, `"outputs"`, `"name":"x"`, `"name":"y"`, `"name":"t"`, `"name":"u"`, `"parameters":{"binary_data_output":true},`, "").Replace(text)
	text = `{"model_name":"m",` + text[1:]
	return append([]byte(text), body[head:]...), len(text)
}

// TestCheck: the right answer is right, and one with anything else in it is not.
func TestCheck(t *testing.T) {
	a := Ask{ID: 12345, Rows: 3, Named: true}
	other := Ask{ID: 12346, Rows: 3, Named: true}
	swap := func(row int) string {
		return fmt.Sprintf("%d,%d,%d", a.element(row, 0), a.element(row, 1), a.element(row, 2))
	}
	for _, binary := range []bool{false, true} {
		a.Binary, other.Binary = binary, binary
		right, head := answered(&a)
		if !binary {
			head = -1
		}
		if err := a.check(right, head); err != nil {
			t.Errorf("binary %v: the right answer: %v", binary, err)
		}
		wrong, at := answered(&other)
		if !binary {
			at = -1
		}
		if err := a.check(wrong, at); err == nil {
			t.Errorf("binary %v: another request's answer is taken", binary)
		}
		if err := a.check(right[:len(right)-1], head); err == nil {
			t.Errorf("binary %v: a part of the answer is taken", binary)
		}
		if err := a.check(append(bytes.Clone(right), ' ', 'x'), head); err == nil {
			t.Errorf("binary %v: more than the answer is taken", binary)
		}
		flipped := bytes.Clone(right)
		flipped[len(flipped)-6] ^= 1
		if err := a.check(flipped, head); err == nil {
			t.Errorf("binary %v: a flipped bit is not noticed", binary)
		}
	}
	a.Binary = false
	right, _ := answered(&a)
	for name, change := range map[string][2]string{
		"rows in another order": {swap(0) + "," + swap(1), swap(1) + "," + swap(0)},
		"a row twice":           {swap(1), swap(0)},
		"another model":         {`"model_name":"m"`, `"model_name":"n"`},
		"another id":            {`"id":"12345"`, `"id":"12346"`},
		"another shape":         {"[3,3]", "[9,1]"},
		"another datatype":      {"INT64", "UINT64"},
		"another name":          {`"y"`, `"z"`},
		"another text":          {"12345/2", "12345/1"},
	} {
		if !bytes.Contains(right, []byte(change[0])) {
			t.Fatalf("%s: there is no %s in %s", name, change[0], right)
		}
		if err := a.check(bytes.Replace(right, []byte(change[0]), []byte(change[1]), 1), -1); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestElements: no row looks like another.
func TestElements(t *testing.T) {
	seen := map[int64]bool{}
	for id := int64(1_000_000); id < 1_000_200; id++ {
		a := Ask{ID: id, Rows: 100}
		for row := range a.Rows {
			if v := a.element(row, 2); seen[v] {
				t.Fatalf("the checksum %d is there twice", v)
			} else {
				seen[v] = true
			}
		}
	}
	body, _ := (&Ask{ID: 1, Rows: 2, Named: true, Priority: 3}).body()
	if !json.Valid(body) || !bytes.Contains(body, []byte(`"priority":3`)) {
		t.Errorf("%s", body)
	}
}

// TestDraw: the same seed draws the same requests, in about the shares of the mix.
func TestDraw(t *testing.T) {
	mix := Mix{Binary: 0.5, Named: 0.2, Leavers: 0.1, Impatient: 0.2, Large: 0.05}
	draw := func() (all []Ask) {
		rng := newRand(7)
		for id := range int64(20000) {
			all = append(all, mix.draw(id, rng))
		}
		return all
	}
	first, again := draw(), draw()
	n := map[string]float64{}
	for i := range first {
		a := &first[i]
		if *a != again[i] {
			t.Fatalf("request %d is %+v, and then %+v", i, *a, again[i])
		}
		for what, is := range map[string]bool{"binary": a.Binary, "named": a.Named, "leavers": a.Leave > 0, "impatient": a.Deadline > 0, "large": a.Rows > maxBatch} {
			if is {
				n[what] += 1.0 / 20000
			}
		}
	}
	for what, want := range map[string]float64{"binary": 0.5, "named": 0.2, "leavers": 0.1, "impatient": 0.2 * 0.9, "large": 0.05 * 0.9 * 0.8} {
		if n[what] < 0.9*want || n[what] > 1.1*want {
			t.Errorf("a share of %.3f is %s, want %.3f", n[what], what, want)
		}
	}
}
