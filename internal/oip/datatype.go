package oip

import "fmt"

// datatypes holds, by Datatype, the name on the wire and the size of one
// element in bytes (0: variable).
var datatypes = [...]struct {
	name string
	size int
}{
	Invalid: {"", 0},
	Bool:    {"BOOL", 1},
	Uint8:   {"UINT8", 1},
	Uint16:  {"UINT16", 2},
	Uint32:  {"UINT32", 4},
	Uint64:  {"UINT64", 8},
	Int8:    {"INT8", 1},
	Int16:   {"INT16", 2},
	Int32:   {"INT32", 4},
	Int64:   {"INT64", 8},
	FP16:    {"FP16", 2},
	BF16:    {"BF16", 2},
	FP32:    {"FP32", 4},
	FP64:    {"FP64", 8},
	Bytes:   {"BYTES", 0},
}

// ParseDatatype reads a datatype's name as OIP spells it ("FP32"). It reports
// false for any other text.
func ParseDatatype(b []byte) (Datatype, bool) {
	for d := Bool; d <= Bytes; d++ {
		if string(b) == datatypes[d].name {
			return d, true
		}
	}
	return Invalid, false
}

// String is the datatype's name in OIP, "INVALID" for what is not one.
func (d Datatype) String() string {
	if d == Invalid || int(d) >= len(datatypes) {
		return "INVALID"
	}
	return datatypes[d].name
}

// Size is the size of one element in bytes; 0 for BYTES, whose elements differ.
func (d Datatype) Size() int {
	if int(d) >= len(datatypes) {
		return 0
	}
	return datatypes[d].size
}

// MarshalJSON writes the name.
func (d Datatype) MarshalJSON() ([]byte, error) {
	if d == Invalid || int(d) >= len(datatypes) {
		return nil, fmt.Errorf("cannot marshal datatype %d: not one of OIP's", uint8(d))
	}
	return []byte(`"` + d.String() + `"`), nil
}

// UnmarshalJSON reads a name.
func (d *Datatype) UnmarshalJSON(b []byte) error {
	if len(b) >= 2 && b[0] == '"' {
		if v, ok := ParseDatatype(b[1 : len(b)-1]); ok {
			*d = v
			return nil
		}
	}
	return fmt.Errorf("cannot read datatype: %.32s is not one of OIP's", b)
}

// integer tells whether d is one of the integer types.
func (d Datatype) integer() bool { return d >= Uint8 && d <= Int64 }

// unsigned tells whether d is one of the unsigned integer types.
func (d Datatype) unsigned() bool { return d >= Uint8 && d <= Uint64 }

// half tells whether d has 16-bit floats, which JSON messages may not carry.
func (d Datatype) half() bool { return d == FP16 || d == BF16 }
