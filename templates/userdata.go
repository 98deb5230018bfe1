package templates

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kubernetes-openstack/cluster"
)

// maxUserData is Nova's limit in bytes: 65,535 characters of base64 encode this many bytes.
const maxUserData = 49_151

// UserData returns the machine's cloud-config, compressed by gzip and encoded in base64. Nova requires
// base64, cloud-init unpacks gzip, and the OpenStack provider does not encode a text that already is base64.
// UserData returns an error above 49,151 bytes of gzip. The error names the biggest files.
func (r *Renderer) UserData(m cluster.Machine, in Inputs) (string, error) {
	config, err := r.CloudConfig(m, in)
	if err != nil {
		return "", err
	}
	packed, err := compress(config)
	if err != nil {
		return "", err
	}
	if len(packed) > maxUserData {
		return "", fmt.Errorf("user-data of %s: %d bytes gzipped, %d are allowed; biggest files: %s",
			m.ID, len(packed), maxUserData, values{r.plan, m, in}.biggest(5))
	}
	return base64.StdEncoding.EncodeToString(packed), nil
}

// compress returns text in gzip format. Its output depends only on text, because the header has no time and
// no name. This must not change, because one changed byte of user-data replaces the machine.
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

// compressors keeps gzip writers for reuse, because each has more than a megabyte of tables. The best
// compression level makes user-data half a percent smaller, but takes three times as long.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// biggest returns the names of the machine's n largest files, with their sizes in bytes before compression.
func (v values) biggest(n int) string {
	files, _ := v.files() // cannot fail, because the caller has rendered the files
	slices.SortStableFunc(files, func(a, b File) int { return len(b.Content) - len(a.Content) })
	var names []string
	for _, f := range files[:min(n, len(files))] {
		names = append(names, fmt.Sprintf("%s (%d bytes)", f.Path, len(f.Content)))
	}
	return strings.Join(names, ", ")
}
