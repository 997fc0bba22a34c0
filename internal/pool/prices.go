package pool

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Price is what one instance of a type costs on demand.
type Price struct {
	InstanceType string
	USDPerHour   float64
}

// LargestPrice bounds a price, in USD/h.
const LargestPrice = 1e6

// ReadPrices reads prices from CSV. The first line names the columns:
// instance_type and usd_per_h, in any order; others are ignored, and so are
// lines that start with #. Errors begin with name, then say line and field. A type
// that comes twice is one.
func ReadPrices(name string, r io.Reader) ([]Price, error) {
	prices, err := readPrices(r)
	if err != nil {
		return nil, fmt.Errorf("cannot read prices: %s: %w", name, err)
	}
	return prices, nil
}

func readPrices(r io.Reader) ([]Price, error) {
	in := csv.NewReader(r)
	in.Comment = '#'
	in.TrimLeadingSpace = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: the file is empty: want a heading with instance_type and usd_per_h")
	}
	if err != nil {
		return nil, err // it names the line
	}
	line, _ := in.FieldPos(0)
	header[0] = strings.TrimPrefix(header[0], "\ufeff")
	nameAt, priceAt := slices.Index(header, "instance_type"), slices.Index(header, "usd_per_h")
	if nameAt < 0 || priceAt < 0 {
		return nil, fmt.Errorf("line %d: want the columns instance_type and usd_per_h; there is %q", line, header)
	}
	var prices []Price
	first := map[string]int{}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		line, _ := in.FieldPos(0)
		p := Price{InstanceType: strings.TrimSpace(record[nameAt])}
		if p.InstanceType == "" {
			return nil, fmt.Errorf("line %d: instance_type: must not be empty", line)
		}
		if at, twice := first[p.InstanceType]; twice {
			return nil, fmt.Errorf("line %d: instance_type: %s is already on line %d", line, p.InstanceType, at)
		}
		first[p.InstanceType] = line
		p.USDPerHour, err = strconv.ParseFloat(strings.TrimSpace(record[priceAt]), 64)
		if err != nil || !(p.USDPerHour >= 0 && p.USDPerHour <= LargestPrice) { // the negation catches NaN
			return nil, fmt.Errorf("line %d: usd_per_h: %q: must be a number from 0 to 1,000,000", line, record[priceAt])
		}
		prices = append(prices, p)
	}
	if len(prices) == 0 {
		return nil, errors.New("no prices in it")
	}
	return prices, nil
}
