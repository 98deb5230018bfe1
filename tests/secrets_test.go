package tests

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
)

// plant sets each secret key below an object of a configuration to its own marker, which convert may change. It returns
// the markers by path. It finds the keys by their type, so a new key needs no change here. If a list of objects with
// secrets is empty, the test fails: then the configuration needs an element.
func plant(
	t testing.TB, path string, kind reflect.Type, object map[string]any, convert func(string) any,
) map[string]string {
	t.Helper()
	planted := map[string]string{}
	for i := range kind.NumField() {
		field := kind.Field(i)
		key, squashed, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
		of, list := field.Type, false
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of, list = of.Elem(), list || of.Kind() == reflect.Slice
		}
		if !holdsSecret(of) || key == "-" {
			continue
		}
		var objects []any
		switch {
		case of == reflect.TypeFor[cluster.Secret]() && !list:
			marker := "marker-of-" + path + key
			text := marker
			if path+key == "monitoring.alertmanager" { // it must be a configuration
				text = fmt.Sprintf("{route: {receiver: %[1]s}, receivers: [{name: %[1]s}]}", marker)
			}
			object[key], planted[path+key] = convert(text), marker
			continue
		case squashed == "squash":
			objects = []any{object}
		case of.Kind() != reflect.Struct:
			require.Fail(t, "plant cannot set "+path+key)
		case list:
			objects, _ = object[key].([]any)
			require.NotEmpty(t, objects, "the configuration needs an element of %s%s", path, key)
		default:
			if object[key] == nil {
				object[key] = map[string]any{}
			}
			objects = []any{object[key]}
		}
		for i, one := range objects {
			below := path + key + "."
			switch {
			case list:
				below = fmt.Sprintf("%s%s[%d].", path, key, i)
			case squashed == "squash":
				below = path
			}
			for path, marker := range plant(t, below, of, one.(map[string]any), convert) {
				planted[path] = marker
			}
		}
	}
	return planted
}

// holdsSecret reports whether a type is a secret, or has a key that is one.
func holdsSecret(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return holdsSecret(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() && holdsSecret(t.Field(i).Type) {
				return true
			}
		}
	}
	return t == reflect.TypeFor[cluster.Secret]()
}

// TestPlant checks that plant finds all kinds of secret keys.
func TestPlant(t *testing.T) {
	t.Parallel()
	type inner struct {
		Secret cluster.Secret `mapstructure:"secret"`
		Text   string         `mapstructure:"text"`
	}
	type outer struct {
		inner   `mapstructure:",squash"`
		Object  inner   `mapstructure:"object"`
		Pointer *inner  `mapstructure:"pointer"`
		List    []inner `mapstructure:"list"`
		Other   struct{ Text string }
	}
	object := map[string]any{"list": []any{map[string]any{}, map[string]any{"text": "a"}}}
	planted := plant(t, "", reflect.TypeFor[outer](), object, func(marker string) any { return marker })
	assert.Len(t, planted, 5)
	assert.Equal(t, map[string]any{
		"secret":  planted["secret"],
		"object":  map[string]any{"secret": planted["object.secret"]},
		"pointer": map[string]any{"secret": planted["pointer.secret"]},
		"list": []any{
			map[string]any{"secret": planted["list[0].secret"]},
			map[string]any{"secret": planted["list[1].secret"], "text": "a"},
		},
	}, object)
}

// forms returns the forms in which a text can contain a secret: plain, escaped in a URL, in hexadecimal digits, and in
// base64 at any offset.
func forms(secret string) []string {
	all := []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret))}
	for offset := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("_", offset) + secret))
		// only the characters that no neighbour of the secret changes
		all = append(all, encoded[(offset*8+5)/6:(offset+len(secret))*8/6])
	}
	return all
}

// search finds secrets in texts. The number of secrets does not slow it down.
type search struct {
	forms map[[begin]byte][]form // by their first bytes
	first [1 << 16]bool          // whether a form begins with these two bytes
}

type form struct{ name, text string }

// begin is less than the length of each form.
const begin = 8

// newSearch returns a search for secrets, which have names.
func newSearch(secrets map[string]string) *search {
	s := &search{forms: map[[begin]byte][]form{}}
	for name, secret := range secrets {
		for _, text := range forms(secret) {
			key := [begin]byte([]byte(text))
			s.forms[key] = append(s.forms[key], form{name, text})
			s.first[int(text[0])<<8|int(text[1])] = true
		}
	}
	return s
}

// in returns the names of the secrets that a text contains in any form.
func (s *search) in(text string) (found []string) {
	for i := range len(text) - begin + 1 {
		if !s.first[int(text[i])<<8|int(text[i+1])] {
			continue
		}
		for _, f := range s.forms[[begin]byte([]byte(text[i:i+begin]))] {
			if strings.HasPrefix(text[i:], f.text) && !slices.Contains(found, f.name) {
				found = append(found, f.name)
			}
		}
	}
	return found
}

func TestSearch(t *testing.T) {
	t.Parallel()
	s := newSearch(map[string]string{"password": "open, sesame", "another": "open, door"})
	for _, around := range []string{"", "a", "ab", "abc"} {
		for _, text := range []string{"%s", "%x"} {
			assert.Equal(t, []string{"password"}, s.in(around+fmt.Sprintf(text, "open, sesame")+around))
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(around + "open, sesame" + around))
		assert.Equal(t, []string{"password"}, s.in(encoded), around)
		assert.Equal(t, []string{"password"}, s.in("http://a:"+url.QueryEscape("open, sesame")+"@b"))
	}
	assert.Empty(t, s.in("open sesame"))
	assert.Empty(t, s.in("open"))
}

// generated returns the secrets that the program generates: private keys, secrets of application credentials, and the
// tokens and keys that it derives from private keys (infra.PKI.Derived).
func generated(r *recorder) map[string]string {
	secrets := map[string]string{}
	for _, res := range r.resources {
		switch {
		case strings.HasSuffix(res.TypeToken, ":PrivateKey"):
			key := "PRIVATE KEY " + res.Name
			sum := sha256.Sum256([]byte(key))
			digits := hex.EncodeToString(sum[:])
			secrets[key], secrets["token of "+res.Name], secrets["key of "+res.Name] = key, digits[6:22], string(sum[:])
		case strings.HasSuffix(res.TypeToken, ":ApplicationCredential"):
			secrets["secret of "+res.Name] = "secret of " + res.Name
		}
	}
	return secrets
}

// revealed prints inputs with their secrets.
func revealed(inputs resource.PropertyMap) string {
	return fmt.Sprint(resource.NewObjectProperty(inputs).MapRepl(nil, unwrap))
}

// unwrap returns the value of a secret.
func unwrap(v resource.PropertyValue) (any, bool) {
	switch {
	case v.IsSecret():
		return v.SecretValue().Element.MapRepl(nil, unwrap), true
	case v.IsOutput():
		return v.OutputValue().Element.MapRepl(nil, unwrap), true
	}
	return nil, false
}

// besideSecrets are the keys without which a secret key is an error.
const besideSecrets = `
openstack: {applicationCredential: {id: 0123456789abcdef0123456789abcdef}}
etcd: {backup: {applicationCredential: {id: fedcba9876543210fedcba9876543210}}}
artifacts: {mirror: "https://mirror.example.com", username: machines}
monitoring: {enabled: true}
`

// markedConfig returns the configuration of the development cluster with a marker in each secret key, and the markers
// by path.
func markedConfig(t *testing.T) (text string, markers map[string]string) {
	t.Helper()
	var object map[string]any
	dev := edited(t, "../Pulumi.dev.yaml", merged(t, besideSecrets))["kubernetes-openstack:cluster"]
	require.NoError(t, json.Unmarshal([]byte(dev), &object))
	markers = plant(t, "", reflect.TypeFor[cluster.Config](), object, func(marker string) any { return marker })
	marked, err := json.Marshal(object)
	require.NoError(t, err)
	return string(marked), markers
}

// markedRun runs the program with this configuration.
func markedRun(t *testing.T, text string) *recorder {
	t.Helper()
	r, err := run(t, "dev", map[string]string{"kubernetes-openstack:cluster": text})
	require.NoError(t, err)
	return r
}

// TestSecrets plants a marker in each secret key of the configuration, and searches all that the program declares for
// the markers and for the secrets that it generates. Only secret inputs of some kinds of resources may contain them,
// and only files of machines that nobody but root can read.
func TestSecrets(t *testing.T) {
	t.Parallel()
	text, markers := markedConfig(t)
	c, err := cluster.Decode("dev", text)
	require.NoError(t, err)
	plan, marked := cluster.NewPlan(c), newSearch(markers)
	for _, format := range []string{"%v", "%+v", "%#v"} {
		assert.Empty(t, marked.in(fmt.Sprintf(format, plan)), format)
		assert.Empty(t, marked.in(fmt.Sprintf(format, &c)), format)
	}

	r := markedRun(t, text)
	secrets := generated(r)
	for path, marker := range markers {
		secrets[path] = marker
	}
	s := newSearch(secrets)
	assert.Empty(t, s.in(graph(r.resources)), "readable in the state, in previews and in goldens")

	used, kinds, instances := map[string]bool{}, map[string]bool{}, 0
	for _, res := range r.resources {
		found := s.in(revealed(res.Inputs))
		if userData, ok := res.Inputs["userData"]; ok {
			instances++
			assert.True(t, userData.IsSecret(), "user-data of %s", res.Name)
			found = append(found, secretsOfMachine(t, res, s)...)
		}
		if len(found) > 0 {
			kinds[res.TypeToken] = true
		}
		for _, name := range found {
			used[name] = true
		}
	}
	assert.Equal(t, 7, instances)
	assert.Equal(t, map[string]bool{
		"openstack:compute/instance:Instance": true, // user-data
		"kubernetes:core/v1:Secret":           true,
		"pulumi:providers:kubernetes":         true, // the kubeconfig
		// keys sign certificates
		"tls:index/certRequest:CertRequest":             true,
		"tls:index/locallySignedCert:LocallySignedCert": true,
		"tls:index/selfSignedCert:SelfSignedCert":       true,
	}, kinds)
	for path := range markers {
		assert.True(t, used[path], "%s is in no resource, so this test does not check it", path)
	}
}

// secretsOfMachine returns the secrets in the user-data of a machine. Each must be in a file that only root can read.
func secretsOfMachine(t *testing.T, instance pulumi.MockResourceArgs, s *search) (found []string) {
	t.Helper()
	for _, file := range writtenFiles(t, instance) {
		inFile := s.in(file.Content)
		if found = append(found, inFile...); len(inFile) == 0 {
			continue
		}
		permissions := cmp.Or(file.Permissions, "0644") // cloud-init's default
		mode, err := strconv.ParseUint(permissions, 8, 32)
		require.NoError(t, err)
		assert.Zero(t, mode&0o077, "%s: %s has %v and the mode %s", instance.Name, file.Path, inFile, permissions)
	}
	return found
}

// withMarkers returns an edit that plants encrypted markers in a stack's text, as `pulumi config set --secret --path`
// writes them.
func withMarkers(t testing.TB, markers map[string]string) func(string) string {
	t.Helper()
	return func(text string) string {
		text = merged(t, besideSecrets)(text)
		var stack map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(text), &stack))
		crypter, err := cachedCrypter(stack["encryptionsalt"].(string))
		require.NoError(t, err)
		object := stack["config"].(map[string]any)["kubernetes-openstack:cluster"].(map[string]any)
		for path, marker := range plant(t, "", reflect.TypeFor[cluster.Config](), object, func(marker string) any {
			encrypted, err := crypter.EncryptValue(context.Background(), marker)
			require.NoError(t, err)
			return map[string]any{"secure": encrypted}
		}) {
			markers[path] = marker
		}
		out, err := yaml.Marshal(stack)
		require.NoError(t, err)
		return string(out)
	}
}

// watchArguments searches the arguments of all processes until stop is called, which returns the secrets that it has
// found, with the arguments.
func watchArguments(s *search) (stop func() []string) {
	ended, result := make(chan struct{}), make(chan []string)
	go func() {
		var found []string
		for {
			paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, path := range paths {
				text, _ := os.ReadFile(path) // the process may have ended
				for _, name := range s.in(string(text)) {
					found = append(found, name+" in "+strings.ReplaceAll(string(text), "\x00", " "))
				}
			}
			select {
			case <-ended:
				result <- found
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() []string { close(ended); return <-result }
}

// inFolder returns the files of a folder that contain secrets.
func (s *search) inFolder(t testing.TB, folder string) (found []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if names := s.in(string(text)); len(names) > 0 {
			found = append(found, fmt.Sprintf("%v in %s", names, path))
		}
		return err
	}))
	return found
}

func TestWatchArguments(t *testing.T) {
	t.Parallel()
	secrets := newSearch(map[string]string{"password": "argument-of-a-process"})
	assert.Empty(t, watchArguments(secrets)())
	cmd := exec.Command("cat", "-", "/argument-of-a-process")
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	assert.Equal(t, []string{"password in cat - /argument-of-a-process "}, watchArguments(secrets)())
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
}

func TestSearchInFolder(t *testing.T) {
	t.Parallel()
	secrets, folder := newSearch(map[string]string{"password": "open, sesame"}), t.TempDir()
	require.NoError(t, os.WriteFile(folder+"/a", []byte("no secret"), 0o600))
	assert.Empty(t, secrets.inFolder(t, folder))
	require.NoError(t, os.WriteFile(folder+"/b", []byte("open, sesame"), 0o600))
	assert.Equal(t, []string{"[password] in " + folder + "/b"}, secrets.inFolder(t, folder))
}
