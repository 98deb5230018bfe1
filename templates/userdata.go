package templates

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// budget is what Nova takes: 65,535 characters of base64, which is this many bytes.
const budget = 49_151

// UserData is the machine's cloud-config, gzipped and in base64: Nova wants base64, cloud-init unpacks gzip, and the
// OpenStack provider passes on as it is what already is base64. It fails above 49,151 bytes of gzip, naming the biggest
// files.
func UserData(m Machine) (string, error) {
	config, err := CloudConfig(m)
	if err != nil {
		return "", err
	}
	packed, err := compress(config)
	if err != nil {
		return "", err
	}
	if len(packed) > budget {
		return "", fmt.Errorf("user-data of %s: %d bytes gzipped, %d are allowed; biggest files: %s",
			m.Hostname, len(packed), budget, biggest(m, 5))
	}
	return base64.StdEncoding.EncodeToString(packed), nil
}

// compress is a pure function of text: the header has no time and no name. It must stay one, for a changed byte of
// user-data replaces the machine.
func compress(text []byte) ([]byte, error) {
	var out bytes.Buffer
	w := compressors.Get().(*gzip.Writer)
	defer compressors.Put(w)
	w.Reset(&out)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

// compressors are kept: each has more than a megabyte of tables. The best level makes user-data
// half a percent smaller, in three times the time.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// biggest names the n largest files of m with their sizes before compression.
func biggest(m Machine, n int) string {
	files, _ := m.files() // the caller has rendered them already
	slices.SortStableFunc(files, func(a, b File) int { return len(b.Content) - len(a.Content) })
	var names []string
	for _, f := range files[:min(n, len(files))] {
		names = append(names, fmt.Sprintf("%s (%d bytes)", f.Path, len(f.Content)))
	}
	return strings.Join(names, ", ")
}
