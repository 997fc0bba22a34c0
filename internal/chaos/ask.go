package chaos

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// The model that the workers serve: what it is given it gives back, x as y, t
// as u.
const (
	model   = "m"
	columns = 3 // of x
)

// Ask is what a request asks for.
type Ask struct {
	ID       int64         // no other request of the run has it; its rows are made of it
	Rows     int           // at least 1
	Binary   bool          // tensors in binary, both ways
	Named    bool          // it has an id in its body
	Poison   int64         // an element of its own, 0: none
	Deadline time.Duration // that it names, 0: none
	Leave    time.Duration // after which the client leaves, 0: it stays
	Priority int           // 0: it names none
}

// Mix says what requests are like: shares of all, 0 to 1.
type Mix struct {
	Binary, Named      float64
	Leavers, Impatient float64 // leave within 60 ms; name deadlines of 1 to 40 ms
	Large              float64 // of more rows than a worker takes at once
	Rows               int     // at most, of the others; 0: 5
}

// Usual is a mix with a little of everything.
var Usual = Mix{Binary: 0.4, Named: 0.5, Leavers: 0.04, Impatient: 0.04, Large: 0.01}

// draw makes a request of the mix.
func (m *Mix) draw(id int64, rng *rand.Rand) Ask {
	// Everything is drawn in any case, so that shares do not move each other's draws.
	is := func(share float64) bool { return rng.Float64() < share }
	most := m.Rows
	if most == 0 {
		most = 5
	}
	a := Ask{ID: id, Rows: 1 + rng.IntN(most), Binary: is(m.Binary), Named: is(m.Named)}
	leave, leaves := time.Duration(1+rng.IntN(60))*time.Millisecond, is(m.Leavers)
	deadline, hurries := time.Duration(1+rng.IntN(40))*time.Millisecond, is(m.Impatient)
	large, huge := maxBatch+1+rng.IntN(2*maxBatch), is(m.Large)
	switch {
	case leaves:
		a.Leave = leave
	case hurries:
		a.Deadline = deadline
	case huge:
		a.Rows = large
	}
	return a
}

// element is column c of a row: a number that no other place of the run has.
func (a *Ask) element(row, c int) int64 {
	switch {
	case c == 0 && row == 0 && a.Poison != 0:
		return a.Poison
	case c == 0:
		return a.ID
	case c == 1:
		return int64(row)
	}
	// SplitMix64's finalizer: a checksum of the others.
	z := uint64(a.ID)<<20 + uint64(row) + 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int64(z ^ z>>31)
}

func (a *Ask) text(row int) string { return fmt.Sprintf("%d/%d", a.ID, row) }

// requestID is the x-request-id that it is sent with.
func (a *Ask) requestID() string { return "chaos-" + strconv.FormatInt(a.ID, 10) }

// wire is the whole HTTP request.
func (a *Ask) wire(host string) []byte {
	body, head := a.body()
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST /v2/models/%s/infer HTTP/1.1\r\nHost: %s\r\nx-request-id: %s\r\nContent-Length: %d\r\n", model, host, a.requestID(), len(body))
	if a.Binary {
		fmt.Fprintf(&b, "Inference-Header-Content-Length: %d\r\n", head)
	}
	if a.Deadline > 0 {
		fmt.Fprintf(&b, "x-request-timeout-ms: %d\r\n", a.Deadline.Milliseconds())
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// body is the request's body, and how long its JSON is.
func (a *Ask) body() (body []byte, head int) {
	var x, t []byte
	for row := range a.Rows {
		for c := range columns {
			if a.Binary {
				x = binary.LittleEndian.AppendUint64(x, uint64(a.element(row, c)))
			} else {
				x = append(strconv.AppendInt(x, a.element(row, c), 10), ',')
			}
		}
		if text := a.text(row); a.Binary {
			t = append(binary.LittleEndian.AppendUint32(t, uint32(len(text))), text...)
		} else {
			t = append(strconv.AppendQuote(t, text), ',')
		}
	}
	b := []byte{'{'}
	if a.Named {
		b = fmt.Appendf(b, `"id":"%d",`, a.ID)
	}
	switch {
	case a.Binary && a.Priority > 0:
		b = fmt.Appendf(b, `"parameters":{"binary_data_output":true,"priority":%d},`, a.Priority)
	case a.Binary:
		b = append(b, `"parameters":{"binary_data_output":true},`...)
	case a.Priority > 0:
		b = fmt.Appendf(b, `"parameters":{"priority":%d},`, a.Priority)
	}
	tensor := func(name, datatype string, columns int, data []byte) {
		b = fmt.Appendf(b, `{"name":%q,"datatype":%q,"shape":[%d,%d],`, name, datatype, a.Rows, columns)
		if a.Binary {
			b = fmt.Appendf(b, `"parameters":{"binary_data_size":%d}}`, len(data))
		} else {
			b = append(append(append(b, `"data":[`...), bytes.TrimSuffix(data, []byte{','})...), "]}"...)
		}
	}
	b = append(b, `"inputs":[`...)
	tensor("x", "INT64", columns, x)
	b = append(b, ',')
	tensor("t", "BYTES", 1, t)
	b = append(b, "]}"...)
	if !a.Binary {
		return b, len(b)
	}
	head = len(b)
	return append(append(b, x...), t...), head
}

// answer is an inference response, as far as it is looked at. It is read
// without the router's own code, so that one error does not hide the other.
type answer struct {
	Model   string `json:"model_name"`
	ID      string `json:"id"`
	Outputs []struct {
		Name, Datatype string
		Shape          []int
		Data           json.RawMessage
		Parameters     struct {
			Size *int `json:"binary_data_size"`
		}
	} `json:"outputs"`
}

// check tells what is wrong with a 200 for the request; head is the length of
// its JSON, −1 where it is all JSON.
func (a *Ask) check(body []byte, head int) error {
	text, rest := body, []byte(nil)
	if head >= 0 {
		if head > len(body) {
			return fmt.Errorf("its JSON is said to have %d bytes of %d", head, len(body))
		}
		text, rest = body[:head], body[head:]
	}
	var got answer
	if err := json.Unmarshal(text, &got); err != nil {
		return fmt.Errorf("no JSON: %w: %.200q", err, text)
	}
	if got.Model != model || len(got.Outputs) != 2 || a.Named && got.ID != strconv.FormatInt(a.ID, 10) {
		return fmt.Errorf("model %q, id %q, %d outputs", got.Model, got.ID, len(got.Outputs))
	}
	for i, want := range []struct {
		name, datatype string
		columns        int
	}{{"y", "INT64", columns}, {"u", "BYTES", 1}} {
		o := &got.Outputs[i]
		if o.Name != want.name || o.Datatype != want.datatype || !slices.Equal(o.Shape, []int{a.Rows, want.columns}) {
			return fmt.Errorf("output %d is %s %s %v, not of %d rows", i, o.Name, o.Datatype, o.Shape, a.Rows)
		}
		var raw []byte
		if o.Parameters.Size != nil {
			n := *o.Parameters.Size
			if n < 0 || n > len(rest) {
				return fmt.Errorf("%s has %d bytes of %d", o.Name, n, len(rest))
			}
			raw, rest = rest[:n], rest[n:]
		}
		if a.Binary != (o.Parameters.Size != nil) {
			return fmt.Errorf("%s is not in the form that was asked for", o.Name)
		}
		if err := a.checkTensor(i, o.Data, raw); err != nil {
			return fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes too many", len(rest))
	}
	return nil
}

// checkTensor compares output i with the request's input i.
func (a *Ask) checkTensor(i int, data json.RawMessage, raw []byte) error {
	if i == 0 {
		var v []int64
		if a.Binary {
			for ; len(raw) >= 8; raw = raw[8:] {
				v = append(v, int64(binary.LittleEndian.Uint64(raw)))
			}
		} else if err := json.Unmarshal(data, &v); err != nil {
			return err
		}
		if len(v) != a.Rows*columns || len(raw) > 0 {
			return fmt.Errorf("%d elements for %d rows", len(v), a.Rows)
		}
		for k, got := range v {
			if want := a.element(k/columns, k%columns); got != want {
				return fmt.Errorf("row %d, column %d is %d, want %d", k/columns, k%columns, got, want)
			}
		}
		return nil
	}
	var v []string
	if a.Binary {
		for len(raw) >= 4 {
			n := int(binary.LittleEndian.Uint32(raw))
			if n > len(raw)-4 {
				return fmt.Errorf("a text of %d bytes in %d", n, len(raw)-4)
			}
			v, raw = append(v, string(raw[4:4+n])), raw[4+n:]
		}
	} else if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if len(v) != a.Rows || len(raw) > 0 {
		return fmt.Errorf("%d texts for %d rows", len(v), a.Rows)
	}
	for row, got := range v {
		if want := a.text(row); got != want {
			return fmt.Errorf("row %d is %q, want %q", row, got, want)
		}
	}
	return nil
}
