package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// servers parses addresses of servers with ports.
func servers(texts ...string) []Server {
	parsed := []Server{}
	for _, text := range texts {
		parsed = append(parsed, Server{netip.MustParseAddrPort(text)})
	}
	return parsed
}

func TestRead(t *testing.T) {
	c, err := Read(filepath.Join(t.TempDir(), "missing"))
	require.NoError(t, err)
	assert.Equal(t, Config{}, c)
	for name, test := range map[string]struct {
		stub, upstream string
		want           Config
		err            string
	}{
		"both": {`{"corp.test": ["192.0.2.1", "192.0.2.2:5353"]}`, `["2001:db8::1"]`,
			Config{map[string][]Server{"corp.test": servers("192.0.2.1:53", "192.0.2.2:5353")},
				servers("[2001:db8::1]:53")}, ""},
		"empty":    {`{}`, `[]`, Config{map[string][]Server{}, servers()}, ""},
		"no JSON":  {`corp.test`, `[]`, Config{}, "stubDomains: invalid character"},
		"a name":   {`{"corp.test": ["ns.corp.test"]}`, `[]`, Config{}, "stubDomains: a server must be an IP"},
		"null":     {`{}`, `[null]`, Config{}, `upstreamNameservers: a server must be an IP address with`},
		"port 0":   {`{}`, `["192.0.2.1:0"]`, Config{}, `upstreamNameservers: a server must be an IP address with`},
		"upstream": {`{}`, `["dns"]`, Config{}, `upstreamNameservers: a server must be an IP address with`},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, folder, "stubDomains", test.stub)
			write(t, folder, "upstreamNameservers", test.upstream)
			c, err := Read(folder)
			assert.Equal(t, test.want, c)
			if test.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, test.err)
			}
		})
	}
}

func TestWatchIgnoresInvalidSettings(t *testing.T) {
	folder := t.TempDir()
	settings := Watch(t.Context(), folder, time.Millisecond)
	assert.Equal(t, Config{}, <-settings)
	write(t, folder, "upstreamNameservers", `["192.0.2.1"]`)
	assert.Equal(t, servers("192.0.2.1:53"), (<-settings).UpstreamNameservers)
	write(t, folder, "upstreamNameservers", `["invalid"]`)
	write(t, folder, "stubDomains", `{"a.test": ["192.0.2.3"]}`)
	write(t, folder, "upstreamNameservers", `["192.0.2.2"]`)
	assert.Equal(t, servers("192.0.2.2:53"), (<-settings).UpstreamNameservers)
}

// write replaces a file at once, as kubelet does.
func write(t *testing.T, folder, name, text string) {
	t.Helper()
	path := filepath.Join(folder, name)
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}
