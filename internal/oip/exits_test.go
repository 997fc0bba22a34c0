package oip

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestExitParams(t *testing.T) {
	for parameters, want := range map[string]ExitParams{
		`{}`: {MaxDisagreement: -1},
		`{"ee_mode":null,"ee_max_disagreement":null,"ee_active_ramps":null,"ee_audit":null}`: {MaxDisagreement: -1},
		`{"ee_mode":"compute","ee_max_disagreement":0.01,"ee_active_ramps":"0,3,5","ee_audit":true}`: {
			Mode: []byte("compute"), MaxDisagreement: 0.01, Ramps: 1 | 1<<3 | 1<<5, RampsGiven: true, Audit: true, given: true},
		`{"ee_max_disagreement":0}`:               {given: true},
		`{"ee_max_disagreement":1}`:               {MaxDisagreement: 1, given: true},
		`{"ee_active_ramps":"31,0"}`:              {MaxDisagreement: -1, Ramps: 1<<31 | 1, RampsGiven: true, given: true},
		`{"ee_active_ramps":""}`:                  {MaxDisagreement: -1, RampsGiven: true, given: true},
		`{"ee_active_ramps":"\u0031,2"}`:          {MaxDisagreement: -1, Ramps: 6, RampsGiven: true, given: true},
		`{"ee_mode":"o\u0066f","ee_audit":false}`: {Mode: []byte("off"), MaxDisagreement: -1, given: true},
	} {
		r := mustParse(t, `{"parameters":`+parameters+`,"inputs":[{"name":"a","shape":[2],"datatype":"INT8","data":[1,2]}]}`)
		if got := fmt.Sprintf("%q %+v", r.Exits.Mode, r.Exits); got != fmt.Sprintf("%q %+v", want.Mode, want) {
			t.Errorf("%s: %s, want %+v", parameters, got, want)
		}
		// A part of the request says the same.
		var part Request
		if err := Slice(&part, r, 1, 1); err != nil || fmt.Sprintf("%+v", part.Exits) != fmt.Sprintf("%+v", r.Exits) {
			t.Errorf("%s: a part has %+v, %v", parameters, part.Exits, err)
		}
	}
	var raw Request
	if err := raw.Parse([]byte("a"), 0, nil); err != nil || raw.Exits.MaxDisagreement != -1 {
		t.Errorf("raw: %+v, %v", raw.Exits, err)
	}
}

// Every set of ramps reads back as it was written.
func TestRampSets(t *testing.T) {
	for set := uint32(1); ; set = set*3 + 1<<7 {
		if got, ok := parseRamps(appendRamps(nil, set)); !ok || got != set {
			t.Fatalf("%b: %s reads as %b, %t", set, appendRamps(nil, set), got, ok)
		}
		if set > 1<<31 {
			break
		}
	}
}

func TestExitMark(t *testing.T) {
	nan := float32(math.NaN())
	for literal, want := range map[string]ExitMark{
		`{"ee_exit":3,"ee_final":false,"ee_confidence":0.93}`: {3, false, 0.93},
		`{"ee_exit":0,"ee_final":true}`:                       {0, true, nan},
	} {
		if got := string(want.Append(nil)); got != literal {
			t.Errorf("%+v is written %s, want %s", want, got, literal)
		}
		r := Response{Parameters: []byte(literal)}
		if got, ok := r.ExitMark(); !ok || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s reads as %+v, %t", literal, got, ok)
		}
	}
	if got := string(ExitMark{Confidence: float32(math.Inf(1))}.Append(nil)); strings.Contains(got, "confidence") {
		t.Errorf("an infinite confidence is written: %s", got)
	}
	for _, literal := range []string{
		``, `{}`, `{"k":1}`, `{"ee_final":true}`, `{"ee_exit":"3"}`, `{"ee_exit":-1}`, `{"ee_exit":33}`, `{"ee_exit":1.5}`, `{"ee_exit":null}`, `{"ee_exit":1,"ee_final":"true"}`,
	} {
		if got, ok := (&Response{Parameters: []byte(literal)}).ExitMark(); ok {
			t.Errorf("%s reads as %+v", literal, got)
		}
	}
	for _, literal := range []string{`{"ee_exit":1,"ee_confidence":2}`, `{"ee_exit":1,"ee_confidence":-0.5}`, `{"ee_exit":1,"ee_confidence":null}`, `{"ee_exit":1,"ee_confidence":1e99}`} {
		if got, ok := (&Response{Parameters: []byte(literal)}).ExitMark(); !ok || got.Confidence == got.Confidence {
			t.Errorf("%s reads as %+v, %t", literal, got, ok)
		}
	}
}

func TestSplitExit(t *testing.T) {
	const in = `"inputs":[{"name":"a","shape":[%d,1],"datatype":"INT8","data":[%s]}]`
	one, two := `{"id":"x",`+fmt.Sprintf(in, 1, "1")+`}`, `{"id":"y","parameters":{"binary_data_output":true},`+fmt.Sprintf(in, 2, "1,2")+`}`
	const out = `{"model_name":"m","id":"w","parameters":{"k":1,"ee_exit":2,"ee_final":false,"ee_confidence":0.5},"outputs":[{"name":"p","datatype":"FP32","shape":[3,1],"data":[0.25,0.5,1]}]}`
	parse := func(body string) *Response {
		r := new(Response)
		if err := r.Parse([]byte(body), -1, nil); err != nil {
			t.Fatal(err)
		}
		return r
	}
	reqs := []*Request{mustParse(t, one), mustParse(t, two)}
	dst := []*Message{{}, {}}
	marks := []*ExitMark{{Exit: 2, Confidence: 0.125}, nil}
	if err := SplitExit(dst, parse(out), reqs, []int{1, 2}, marks); err != nil {
		t.Fatal(err)
	}
	if got, want := string(dst[0].Body), `{"model_name":"m","id":"x","parameters":{"k":1,"ee_exit":2,"ee_final":false,"ee_confidence":0.125},"outputs":[{"name":"p","datatype":"FP32","shape":[1,1],"data":[0.25]}]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(dst[1].Body[:dst[1].HeadLength]), `{"model_name":"m","id":"y","parameters":{"k":1},"outputs":[{"name":"p","datatype":"FP32","shape":[2,1],"parameters":{"binary_data_size":8}}]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// Only the second is wanted, and gets its own rows.
	last := new(Message)
	if err := SplitExit([]*Message{nil, last}, parse(out), reqs, []int{1, 2}, marks); err != nil || string(last.Body) != string(dst[1].Body) {
		t.Errorf("alone: %q, %v", last.Body, err)
	}
	// As JSON, whatever was asked for.
	plain := []*Request{reqs[0].AsJSON(), reqs[1].AsJSON()}
	if plain[0] != reqs[0] {
		t.Error("a request for JSON was copied")
	}
	if err := SplitExit([]*Message{nil, last}, parse(out), plain, []int{1, 2}, marks); err != nil || last.HeadLength != -1 || !strings.Contains(string(last.Body), `"data":[0.5,1]`) {
		t.Errorf("as JSON: %s, %v", last.Body, err)
	}
	// A single request whose answer fits as it stands is marked all the same.
	single := parse(strings.NewReplacer(`"id":"w"`, `"id":"x"`, "[3,1]", "[1,1]", "[0.25,0.5,1]", "[0.25]").Replace(out))
	if err := SplitExit([]*Message{last}, single, reqs[:1], nil, []*ExitMark{nil}); err != nil || strings.Contains(string(last.Body), "ee_exit") {
		t.Errorf("single: %s, %v", last.Body, err)
	}
	if err := SplitExit([]*Message{last}, single, reqs[:1], nil, nil); err == nil {
		t.Error("no marks are accepted")
	}
}
