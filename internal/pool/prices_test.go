package pool

import (
	"fmt"
	"strings"
	"testing"
)

func TestReadPrices(t *testing.T) {
	prices, err := ReadPrices("f", strings.NewReader("# USD\nregion,usd_per_h,instance_type\nus, 0.5,a\neu,0 , b\n"))
	if err != nil || fmt.Sprint(prices) != "[{a 0.5} {b 0}]" {
		t.Errorf("%v, %v", prices, err)
	}
	const head = "instance_type,usd_per_h\n"
	for text, want := range map[string]string{
		"":                              "f: line 1: the file is empty",
		"type,price\na,1\n":             "f: line 1: want the columns",
		head:                            "f: no prices",
		head + "a,1\na,2\n":             "f: line 3: instance_type: a is already on line 2",
		head + ",1\n":                   "f: line 2: instance_type",
		head + "a,-1\n":                 "f: line 2: usd_per_h",
		head + "a,NaN\n":                "f: line 2: usd_per_h",
		head + "a,+Inf\n":               "f: line 2: usd_per_h",
		head + "a,cheap\n":              "f: line 2: usd_per_h",
		head + "a,1,1\n":                "line 2",
		head + "a,\"1\n":                "line",
		head + "# comment\na,2000000\n": "f: line 3: usd_per_h",
	} {
		if _, err := ReadPrices("f", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzReadPrices(f *testing.F) {
	f.Add("instance_type,usd_per_h\na,1\n")
	f.Fuzz(func(t *testing.T, text string) {
		prices, err := ReadPrices("f", strings.NewReader(text))
		if (err == nil) != (len(prices) > 0) {
			t.Fatalf("%q: %d prices, %v", text, len(prices), err)
		}
		for _, p := range prices {
			if p.InstanceType == "" || !(p.USDPerHour >= 0 && p.USDPerHour <= LargestPrice) {
				t.Errorf("%q: %+v", text, p)
			}
		}
	})
}
