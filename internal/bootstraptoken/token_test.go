package bootstraptoken

import (
	"net/netip"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const key, instance = "secret key", "4f1c0d9e-2b7a-4c55-9e2e-0123456789ab"

// TestTokensDiffer checks that no two machines, instances or keys have the same token, and no two machines the same ID.
func TestTokensDiffer(t *testing.T) {
	format := regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`) // of Kubernetes
	tokens, ids := map[string]string{}, map[string]string{}
	for _, address := range []string{"10.0.0.0", "10.0.0.64", "10.1.0.64", "10.255.255.255", "127.255.255.255",
		"128.0.0.7"} {
		for _, seed := range []Seed{
			NewSeed(key, "dev-worker-0", netip.MustParseAddr(address)),
			NewSeed("other", "dev-worker-0", netip.MustParseAddr(address)),
			NewSeed(key, "dev-worker-1", netip.MustParseAddr(address)),
		} {
			for _, id := range []string{instance, "4f1c0d9e-2b7a-4c55-9e2e-0123456789ac"} {
				token := seed.Token(id)
				require.Regexp(t, format, token.String())
				require.NotContains(t, string(seed), token.Secret)
				require.NotContains(t, tokens, token.String())
				tokens[token.String()] = ""
				ids[token.ID] = ""
			}
		}
	}
	assert.Len(t, ids, 6)
}

// TestCheck checks the groups of requests.
func TestCheck(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, row := range map[string]struct {
		groups []string
		want   string
	}{
		"own":        {[]string{"system:bootstrappers", Group, "system:bootstrappers:node:dev-worker-0:1800000001"}, ""},
		"no token":   {[]string{"system:authenticated"}, "it needs the bootstrap token of dev-worker-0"},
		"every node": {[]string{Group}, "it needs the bootstrap token of dev-worker-0"},
		"an earlier version's": {[]string{"system:bootstrappers", "system:bootstrappers:worker"},
			"it needs the bootstrap token of dev-worker-0"},
		"another node's": {[]string{Group, Group + ":dev-worker-1:1800000001"},
			"it needs the bootstrap token of dev-worker-0"},
		"longer name": {[]string{Group + ":dev-worker-00:1800000001"}, "it needs the bootstrap token of dev-worker-0"},
		"expired": {[]string{Group + ":dev-worker-0:1800000000"},
			"its bootstrap token expired at 2027-01-15T08:00:00Z"},
		"without a time": {[]string{Group + ":dev-worker-0:"}, "must end with a time in seconds"},
		"two parts":      {[]string{Group + ":dev-worker-0:1:1800000001"}, "must end with a time in seconds"},
	} {
		err := Check(row.groups, "dev-worker-0", now)
		if row.want == "" {
			assert.NoError(t, err, name)
			continue
		}
		assert.ErrorContains(t, err, row.want, name)
	}
}

// TestManifest checks that the groups of a Secret pass Check until it expires.
func TestManifest(t *testing.T) {
	expires := time.Unix(1_800_000_000, 0)
	token := Seed("00000a.seed").Token(instance)
	manifest := token.Manifest("dev-worker-0", expires)
	data := manifest["data"].(map[string][]byte)
	groups := regexp.MustCompile(",").Split(string(data["auth-extra-groups"]), -1)
	for _, g := range groups { // of Kubernetes
		assert.Regexp(t, `^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$`, g)
	}
	assert.Equal(t, "2027-01-15T08:00:00Z", string(data["expiration"]))
	assert.NoError(t, Check(groups, "dev-worker-0", expires.Add(-time.Second)))
	assert.ErrorContains(t, Check(groups, "dev-worker-0", expires), "expired")
	assert.Equal(t, "bootstrap-token-00000a", token.SecretName())
}
