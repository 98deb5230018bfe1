package k8s

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUnsecretUnknown checks that only values that a preview does not know lose the mark of a secret.
func TestUnsecretUnknown(t *testing.T) {
	t.Parallel()
	secrets := map[bool]map[string]bool{} // by preview and key
	for _, preview := range []bool{true, false} {
		data := map[string]any{"known": pulumi.ToSecret(pulumi.String("a")), "text": "b"}
		if preview {
			data["unknown"] = pulumi.ToSecret(pulumi.UnsafeUnknownOutput(nil))
		}
		secrets[preview] = map[string]bool{}
		require.NoError(t, pulumi.RunErr(func(ctx *pulumi.Context) error {
			if err := (deployer{ctx: ctx}).unsecretUnknown(object{"data": data}); err != nil {
				return err
			}
			for key, value := range data {
				if output, ok := value.(pulumi.Output); ok {
					result, err := internals.UnsafeAwaitOutput(ctx.Context(), output)
					require.NoError(t, err)
					secrets[preview][key] = result.Secret
				}
			}
			return nil
		}, pulumi.WithMocks("kubernetes-openstack", "test", &declared{all: map[string]pulumi.MockResourceArgs{}}),
			func(info *pulumi.RunInfo) { info.DryRun = preview }))
		assert.Equal(t, "b", data["text"])
	}
	assert.Equal(t, map[bool]map[string]bool{true: {"known": true, "unknown": false}, false: {"known": true}}, secrets)
}
