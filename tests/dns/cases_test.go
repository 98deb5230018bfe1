package dns

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDeploy and TestE2ELife run the cases against both DNS servers.

func TestDifferencesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/network.md")
	require.NoError(t, err)
	for _, c := range (Cluster{netip.MustParseAddr("10.96.0.77"), "10.244.0.7"}).Cases() {
		assert.Equal(t, c.SkyDNS != "", c.Difference != "", c.Name)
		if c.Difference != "" {
			assert.Contains(t, string(page), "\n| "+c.Difference+" |")
		}
	}
}

// TestAsk checks the client and the server of the cases against each other.
func TestAsk(t *testing.T) {
	address := Serve(t, Stub, OnLoopback)
	for _, network := range []string{"udp", "tcp"} {
		for question, want := range map[string]string{
			"name.stub.test. A": "A 192.0.2.200", "name.stub.test. AAAA": "NODATA", "other.test. A": "REFUSED",
		} {
			name, kind, _ := strings.Cut(question, " ")
			got, err := Ask(t.Context(), new(net.Dialer).DialContext, network, address, name, kind)
			require.NoError(t, err)
			assert.Equal(t, want, got, "%s over %s", question, network)
		}
	}
}
