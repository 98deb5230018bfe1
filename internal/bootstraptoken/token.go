// Package bootstraptoken makes the bootstrap tokens of kubelets:
// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
//
// Each instance of a machine has a different token, which nobody can compute before the instance exists:
//   - User-data has the Seed of the machine, which all its instances share. So another token replaces no machine.
//   - The instance computes its token from the seed and its own ID (templates/kubelet).
//   - `pulumi up` creates the token in the API while a new instance is not a node yet, and deletes it when the machine
//     is ready. The token expires in any case.
//   - node-approver approves a request if the groups of the token name this node, and the token has not expired.
package bootstraptoken

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Group is a group of all tokens of this package. RBAC lets it request certificates.
const Group = "system:bootstrappers:node"

// Seed is the secret from which the tokens of a machine are computed: the ID of all its tokens, a dot, and 64
// hexadecimal digits.
type Seed string

// NewSeed returns the seed of the machine with this name and planned address, which is unique.
func NewSeed(key, name string, address netip.Addr) Seed {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(name))
	bytes := address.As4()
	// six digits in base 36 have 31 bits, and addresses of one network differ in them
	id := uint64(bytes[0]&0x7f)<<24 | uint64(bytes[1])<<16 | uint64(bytes[2])<<8 | uint64(bytes[3])
	return Seed(fmt.Sprintf("%06s.%x", strconv.FormatUint(id, 36), mac.Sum(nil)))
}

// Token is the token of one instance.
type Token struct{ ID, Secret string }

// Token returns the token of the instance with this ID. prepare-kubelet computes the same.
func (s Seed) Token(instance string) Token {
	id, secret, _ := strings.Cut(string(s), ".")
	return Token{id, fmt.Sprintf("%x", sha256.Sum256([]byte(secret+instance)))[:16]}
}

// String returns the text with which a kubelet authenticates.
func (t Token) String() string { return t.ID + "." + t.Secret }

// SecretName returns the name of the Secret that holds the token, in the namespace kube-system.
func (t Token) SecretName() string { return "bootstrap-token-" + t.ID }

// Manifest returns the Secret that lets node join until expires.
func (t Token) Manifest(node string, expires time.Time) map[string]any {
	return map[string]any{
		"apiVersion": "v1",
		"kind":       "Secret",
		"metadata":   map[string]any{"name": t.SecretName(), "namespace": "kube-system"},
		"type":       "bootstrap.kubernetes.io/token",
		"data": map[string][]byte{ // JSON has bytes in base64
			"auth-extra-groups":              []byte(Group + "," + group(node, expires)),
			"expiration":                     []byte(expires.UTC().Format(time.RFC3339)),
			"token-id":                       []byte(t.ID),
			"token-secret":                   []byte(t.Secret),
			"usage-bootstrap-authentication": []byte("true"),
		},
	}
}

// group returns the group of a token for one node. The API server copies it into each request.
func group(node string, expires time.Time) string {
	return fmt.Sprintf("%s:%s:%d", Group, node, expires.Unix())
}

// Check returns an error if groups are not those of a token that lets node join now. The API server refuses an expired
// token, but a request that is older stays in the API.
func Check(groups []string, node string, now time.Time) error {
	prefix := group(node, time.Time{})
	prefix = prefix[:strings.LastIndex(prefix, ":")+1]
	i := slices.IndexFunc(groups, func(g string) bool { return strings.HasPrefix(g, prefix) })
	if i < 0 {
		return fmt.Errorf("it needs the bootstrap token of %s, got the groups %q", node, groups)
	}
	seconds, err := strconv.ParseInt(strings.TrimPrefix(groups[i], prefix), 10, 64)
	if err != nil {
		return fmt.Errorf("the group %q must end with a time in seconds", groups[i])
	}
	if expires := time.Unix(seconds, 0); !now.Before(expires) {
		return fmt.Errorf("its bootstrap token expired at %s", expires.UTC().Format(time.RFC3339))
	}
	return nil
}
