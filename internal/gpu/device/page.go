package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Page is what a source knows at one time: the form in which an agent answers
// (/v1/devices) and router gpus -json prints.
type Page struct {
	Devices []Device `json:"devices"`
	Samples []Sample `json:"samples"`
	Missing []string `json:"missing,omitempty"` // what could not be asked, and why
}

// The bounds of a page that is believed.
const (
	MaxPage    = 4 << 20 // bytes
	maxDevices = 1024    // and samples
	maxText    = 1024    // bytes of a name
	maxAge     = 100 * 365 * 24 * time.Hour
)

// ErrTooLarge is a page over MaxPage.
var ErrTooLarge = errors.New("page is over 4 MiB")

// ReadPage reads a page as ParsePage takes it. It stops reading at MaxPage.
func ReadPage(r io.Reader) (Page, error) {
	data, err := ReadBounded(r)
	if err != nil {
		return Page{}, err
	}
	return ParsePage(data)
}

// ReadBounded reads all of r, up to MaxPage bytes; more is ErrTooLarge.
func ReadBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxPage+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read page: %w", err)
	}
	if len(data) > MaxPage {
		return nil, fmt.Errorf("cannot read page: %w", ErrTooLarge)
	}
	return data, nil
}

// ParsePage reads the JSON form of a page. Fields that it does not know are
// passed over: agents may be newer than routers.
func ParsePage(data []byte) (Page, error) {
	var p Page
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&p); err != nil {
		return Page{}, fmt.Errorf("cannot read page: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Page{}, errors.New("cannot read page: something follows it")
	}
	if err := p.check(); err != nil {
		return Page{}, fmt.Errorf("cannot read page: %w", err)
	}
	return p, nil
}

func (p Page) check() error {
	if len(p.Devices) > maxDevices || len(p.Samples) > maxDevices {
		return fmt.Errorf("%d devices and %d samples; at most %d", len(p.Devices), len(p.Samples), maxDevices)
	}
	for _, d := range p.Devices {
		if d.ID == "" || len(d.ID) > maxText || len(d.Name) > maxText {
			return fmt.Errorf("device %.40q: its ID must have 1 to %d bytes, its name at most as many", d.ID, maxText)
		}
	}
	for _, s := range p.Samples {
		if err := s.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Check reports what makes a sample unusable.
func (s Sample) Check() error {
	switch {
	case s.Device == "" || len(s.Device) > maxText:
		return fmt.Errorf("sample of device %.40q: its ID must have 1 to %d bytes", s.Device, maxText)
	case s.Age < 0 || s.Age > maxAge:
		return fmt.Errorf("sample of %.40q: its age must not be negative, nor above %v", s.Device, maxAge)
	}
	switch s.Access {
	case Reachable, Lost, ResetRequired, Hung, Denied, Failed:
	default:
		return fmt.Errorf("sample of %.40q: no such access as %.40q", s.Device, s.Access)
	}
	return nil
}
