package pool

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// Learned is a profile with the names that survive a restart; ids do not.
type Learned struct {
	Model        string
	InstanceType string
	Profile      *Profile
}

// The first line of saved profiles tells what they are. The checksum is
// xxHash64 of all lines after it, in hexadecimal, so that a torn file is seen.
type savedHead struct {
	Format   string `json:"format"`
	Version  int    `json:"version"`
	Profiles int    `json:"profiles"` // lines that follow, one profile each
	Checksum string `json:"xxhash64"`
}

const (
	savedFormat  = "motley profiles"
	savedVersion = 1
	// maxSaved bounds what is read: some ten thousand profiles.
	maxSaved = 256 << 20
)

// The classes of error of LoadProfiles, for errors.Is.
var (
	ErrForeign = errors.New("these are no saved profiles")
	ErrTooNew  = errors.New("saved by a newer version")
	ErrTorn    = errors.New("damaged or incomplete")
)

// SaveProfiles writes the profiles as lines of JSON, in the order given;
// LoadProfiles gives back ones that estimate the same and go on learning the
// same. A supposition (Suppose) is not saved. The caller makes the writing
// atomic.
func SaveProfiles(w io.Writer, all []Learned) error {
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	there := map[[2]string]bool{}
	for _, l := range all {
		name := [2]string{l.Model, l.InstanceType}
		var err error
		switch {
		case l.Model == "" || l.InstanceType == "":
			err = errors.New("both need a name")
		case there[name]:
			err = errors.New("it is there twice")
		case l.Profile == nil:
			err = errors.New("there is none")
		default:
			err = lines.Encode(saved(l))
		}
		there[name] = true
		if err != nil {
			return fmt.Errorf("cannot save the profile of %s on %s: %w", l.Model, l.InstanceType, err)
		}
	}
	head := savedHead{Format: savedFormat, Version: savedVersion, Profiles: len(all), Checksum: checksum(body.Bytes())}
	err := json.NewEncoder(w).Encode(head)
	if err == nil {
		_, err = body.WriteTo(w)
	}
	if err != nil {
		return fmt.Errorf("cannot save profiles: %w", err)
	}
	return nil
}

func checksum(body []byte) string { return fmt.Sprintf("%016x", xxhash.Sum64(body)) }

// LoadProfiles reads what SaveProfiles wrote: all of it, or none and an error
// that is ErrForeign, ErrTooNew, ErrTorn or the reader's.
func LoadProfiles(r io.Reader) ([]Learned, error) {
	all, err := loadProfiles(r)
	if err != nil {
		return nil, fmt.Errorf("cannot load profiles: %w", err)
	}
	return all, nil
}

func loadProfiles(r io.Reader) ([]Learned, error) {
	in, err := io.ReadAll(io.LimitReader(r, maxSaved+1))
	switch {
	case err != nil:
		return nil, err
	case len(in) > maxSaved:
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrForeign, maxSaved)
	case len(in) == 0:
		return nil, fmt.Errorf("%w: empty", ErrTorn)
	}
	line, body, complete := bytes.Cut(in, []byte("\n"))
	var head savedHead
	if err := json.Unmarshal(line, &head); err != nil || head.Format != savedFormat {
		return nil, fmt.Errorf("line 1: %w: want a JSON object with format %q", ErrForeign, savedFormat)
	}
	switch {
	case head.Version > savedVersion:
		return nil, fmt.Errorf("line 1: version: %w: %d, this one reads up to %d", ErrTooNew, head.Version, savedVersion)
	case head.Version < 1:
		return nil, fmt.Errorf("line 1: version: %w: %d", ErrForeign, head.Version)
	case !complete:
		return nil, fmt.Errorf("line 1: %w: it does not end", ErrTorn)
	}
	if sum := checksum(body); sum != head.Checksum {
		return nil, fmt.Errorf("line 1: xxhash64: %w: %q, but the lines that follow have %q", ErrTorn, head.Checksum, sum)
	}
	all, err := parseSaved(body)
	if err != nil {
		return nil, err
	}
	if len(all) != head.Profiles {
		return nil, fmt.Errorf("line 1: profiles: %w: %d, but %d lines follow", ErrTorn, head.Profiles, len(all))
	}
	return all, nil
}

// parseSaved reads the lines after the first and trusts none of them.
func parseSaved(body []byte) ([]Learned, error) {
	var all []Learned
	first := map[[2]string]int{}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, len(body)+1)
	for n := 2; lines.Scan(); n++ {
		var s savedProfile
		in := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		in.DisallowUnknownFields()
		if err := in.Decode(&s); err != nil {
			return nil, fmt.Errorf("line %d: %w: %w", n, ErrTorn, err)
		}
		if in.More() {
			return nil, fmt.Errorf("line %d: %w: more than one profile", n, ErrTorn)
		}
		l, err := s.restore()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %w", n, ErrTorn, err)
		}
		name := [2]string{l.Model, l.InstanceType}
		if at := first[name]; at > 0 {
			return nil, fmt.Errorf("line %d: %w: %s on %s is already on line %d", n, ErrTorn, l.Model, l.InstanceType, at)
		}
		first[name] = n
		all = append(all, l)
	}
	return all, lines.Err()
}
