package tests

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// exempt are the places in which secrets may be, although others than root can read them.
var exempt = []struct{ secret, place, reason string }{
	{`/etc/kubernetes/bootstrap-seed of \S+-worker-\d+\.0`, `user-data of \S+-worker-\d+`,
		"with a token that it computes from the seed, kubelet requests its first certificate"},
}

// leaks returns the secrets in places where none may be. found maps places to the names of secrets.
func leaks(found map[string][]string) (wrong []string) {
	for _, place := range slices.Sorted(maps.Keys(found)) {
		for _, secret := range found[place] {
			if !slices.ContainsFunc(exempt, func(e struct{ secret, place, reason string }) bool {
				return regexp.MustCompile("^"+e.secret+"$").MatchString(secret) &&
					regexp.MustCompile("^"+e.place+"$").MatchString(place)
			}) {
				wrong = append(wrong, place+": "+secret)
			}
		}
	}
	return wrong
}

// exportedResource is a resource in the output of `pulumi stack export`.
type exportedResource struct {
	URN, Type       string
	Inputs, Outputs any
}

func (r exportedResource) isKey() bool { return strings.HasSuffix(r.Type, ":PrivateKey") }

// exportedSecrets returns the secrets of a stack by their names: private keys, the digests of them, and all other
// secrets in the output of `pulumi stack export --show-secrets`.
func exportedSecrets(t testing.TB, export string) map[string]string {
	t.Helper()
	var stack struct {
		Deployment struct{ Resources []exportedResource }
	}
	require.NoError(t, json.Unmarshal([]byte(export), &stack))
	found := map[string]string{}
	add := func(name, secret string) {
		if len(secret) >= begin && secret != publicPassword && len(newSearch(found).in(secret)) == 0 {
			found[name] = secret
		}
	}
	resources := stack.Deployment.Resources
	// keys first, because other resources contain them
	slices.SortStableFunc(resources, func(a, b exportedResource) int {
		return cmp.Compare(strconv.FormatBool(b.isKey()), strconv.FormatBool(a.isKey()))
	})
	for _, r := range resources {
		name := r.URN[strings.LastIndex(r.URN, "::")+2:]
		for i, text := range append(secretTexts(r.Inputs), secretTexts(r.Outputs)...) {
			for j, part := range secretParts(text) {
				add(fmt.Sprintf("%s %s %d.%d", r.Type[strings.LastIndex(r.Type, ":")+1:], name, i, j), part)
			}
			for _, file := range protectedFiles(t, text) {
				for j, part := range secretParts(file.Content) {
					add(fmt.Sprintf("%s of %s.%d", file.Path, name, j), part)
				}
			}
			if r.isKey() {
				sum := sha256.Sum256([]byte(text)) // infra.PKI.Derived
				digits := hex.EncodeToString(sum[:])
				add("token of "+name, digits[6:22])
				add("key of "+name, string(sum[:]))
			}
		}
	}
	return found
}

// publicPassword is the password of all users of devcloud.
const publicPassword = "devcloud"

// The key and the value that mark a secret in the output of `pulumi stack export --show-secrets`.
const markerKey, markerValue = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"

// secretTexts returns all texts that are secret in a value of an exported stack.
func secretTexts(value any) (texts []string) {
	switch v := value.(type) {
	case map[string]any:
		if text, ok := v["plaintext"].(string); ok && v[markerKey] == markerValue {
			var secret any
			if json.Unmarshal([]byte(text), &secret) == nil {
				return allTexts(secret)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			texts = append(texts, secretTexts(v[key])...)
		}
	case []any:
		for _, item := range v {
			texts = append(texts, secretTexts(item)...)
		}
	}
	return texts
}

func allTexts(value any) (texts []string) {
	switch v := value.(type) {
	case string:
		return []string{v}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			texts = append(texts, allTexts(v[key])...)
		}
	case []any:
		for _, item := range v {
			texts = append(texts, allTexts(item)...)
		}
	}
	return texts
}

var (
	privateKey = regexp.MustCompile(`-----BEGIN ([A-Z ]*)PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END`)
	// keyed is a line of YAML or INI whose key names a secret or its file.
	keyed = regexp.MustCompile(
		`(?im)^[\s-]*"?[\w-]*(?:password|secret|token|key-data)([\w-]*)"?\s*[:=]\s*"?([^\s"]+)"?\s*$`)
)

// secretParts returns the parts of a secret text by which a search finds it. A private key has one line that contains
// the key. A file has values whose keys name a secret. A text of one word is a part itself. protectedFiles has the
// parts of user-data.
func secretParts(text string) (parts []string) {
	plain := inPlain(text)
	if strings.HasPrefix(plain, cloudConfig) || strings.HasPrefix(plain, "-----BEGIN CERTIFICATE") {
		return nil
	}
	for _, key := range privateKey.FindAllStringSubmatch(plain, -1) {
		lines := strings.Fields(key[2])
		line := lines[0] // further lines of an EC key contain the public key
		if key[1] == "OPENSSH " {
			line = lines[max(0, len(lines)-2)] // the first lines contain the public key
		}
		parts = append(parts, line)
	}
	for _, value := range keyed.FindAllStringSubmatch(plain, -1) {
		if !strings.EqualFold(value[1], "file") {
			parts = append(parts, secretParts(value[2])...)
		}
	}
	if word := strings.TrimSpace(text); !strings.ContainsAny(word, " \n") {
		parts = append(parts, word)
	}
	return parts
}

const cloudConfig = "#cloud-config"

// protectedFiles returns the files in user-data that only their owner can read.
func protectedFiles(t testing.TB, text string) (files []writtenFile) {
	t.Helper()
	plain := inPlain(text)
	if !strings.HasPrefix(plain, cloudConfig) {
		return nil
	}
	var config struct {
		WriteFiles []writtenFile `json:"write_files"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(plain), &config))
	for _, file := range config.WriteFiles {
		mode, err := strconv.ParseUint(cmp.Or(file.Permissions, "0644"), 8, 32)
		require.NoError(t, err)
		if mode&0o077 == 0 {
			files = append(files, file)
		}
	}
	return files
}

// inPlain returns a text that may be encoded in base64, and may also be gzipped.
func inPlain(text string) string {
	if content, err := base64.StdEncoding.DecodeString(text); err == nil && len(content) > 0 {
		return string(unzipped(content))
	}
	return text
}

// unzipped returns the content of a gzipped file, and other content unchanged.
func unzipped(content []byte) []byte {
	if r, err := gzip.NewReader(bytes.NewReader(content)); err == nil {
		if plain, err := io.ReadAll(r); err == nil {
			return plain
		}
	}
	return content
}

// readable calls visit for each regular file below a root that others than its owner and group can read, except for
// programs. In logs, it visits all files.
func readable(root string, skip []string, logs string, visit func(path string, content []byte)) error {
	root = strings.TrimSuffix(root, "/")
	return filepath.WalkDir(root+"/", func(path string, entry fs.DirEntry, err error) error { // root may be a link
		inside := strings.TrimPrefix(path, root)
		if err != nil || slices.Contains(skip, inside) {
			if entry != nil && entry.IsDir() {
				return fs.SkipDir
			}
			return nil // it was deleted
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		isLog := inside == logs || strings.HasPrefix(inside, logs+"/")
		switch {
		case entry.IsDir() && info.Mode()&0o001 == 0 && !isLog:
			return fs.SkipDir
		case !entry.Type().IsRegular() || info.Mode()&0o004 == 0 && !isLog:
			return nil
		}
		content, err := os.ReadFile(path)
		if err == nil && !bytes.HasPrefix(content, []byte("\x7fELF")) {
			visit(inside, unzipped(content))
		}
		return nil
	})
}

func zipped(text string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, text) // a buffer has no errors
	_ = w.Close()
	return out.Bytes()
}

func TestLeaks(t *testing.T) {
	t.Parallel()
	const seed = "/etc/kubernetes/bootstrap-seed of e2e-worker-0.0"
	assert.Equal(t, []string{"console: " + seed, "user-data of e2e-etcd-0: " + seed}, leaks(map[string][]string{
		"user-data of e2e-worker-0": {seed}, "console": {seed}, "user-data of e2e-etcd-0": {seed}, "state": nil,
	}))
}

// TestExportedSecrets checks that each kind of secret in a stack is found: in its plain form, in files, encoded, and
// derived.
func TestExportedSecrets(t *testing.T) {
	t.Parallel()
	secret := func(value any) any {
		text, err := json.Marshal(value)
		require.NoError(t, err)
		return map[string]any{markerKey: markerValue, "plaintext": string(text)}
	}
	const (
		ec = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIsecretLine1\npublicLine2\n-----END EC PRIVATE KEY-----\n"
		ed = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA\npublicLine2\nsecretLine3\nAAAA\n" +
			"-----END OPENSSH PRIVATE KEY-----\n"
	)
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	export, err := json.Marshal(map[string]any{"deployment": map[string]any{"resources": []any{
		map[string]any{"urn": "a::b::c", "type": "kubernetes:core/v1:Secret", "outputs": map[string]any{
			"data": secret(map[string]any{"cloud.conf": encoded("[Global]\nauth-url=http://a\napplication-credential-secret=" +
				"sesame-of-the-cloud\n")})}},
		map[string]any{"urn": "a::b::dev-ca", "type": "tls:index/privateKey:PrivateKey",
			"outputs": map[string]any{"public": "text", "privateKeyPem": secret(ec)}},
		map[string]any{"urn": "a::b::dev-ssh", "type": "tls:index/privateKey:PrivateKey",
			"outputs": map[string]any{"privateKeyOpenssh": secret(ed)}},
		map[string]any{"urn": "a::b::i", "type": "Instance", "inputs": map[string]any{
			"userData": secret(base64.StdEncoding.EncodeToString(zipped("#cloud-config\nwrite_files:\n" +
				"- {path: /seed, content: \"ours.0123456789\\n\", permissions: \"0600\"}\n" +
				"- {path: /bootstrap.conf, content: \"tokenFile: /public/path\\n\", permissions: \"0600\"}\n" +
				"- {path: /public, content: public.0123456789}\n")))}},
		map[string]any{"urn": "a::b::stack", "type": "Stack", "outputs": map[string]any{
			"kubeconfig": secret("users:\n- client-key-data: " + encoded(ec) + "\n"), "list": []any{secret("plain-secret")},
			"password": secret("devcloud")}},
	}}})
	require.NoError(t, err)
	found := exportedSecrets(t, string(export))
	sum := sha256.Sum256([]byte(ec))
	all := slices.Collect(maps.Values(found))
	for _, want := range []string{"MHcCAQEEIsecretLine1", "secretLine3", "sesame-of-the-cloud", "plain-secret",
		"ours.0123456789", string(sum[:]), hex.EncodeToString(sum[:])[6:22]} {
		assert.Contains(t, all, want)
	}
	assert.Equal(t, "ours.0123456789", found["/seed of i.0"])
	assert.Len(t, found, 9, "also the digests of dev-ssh, but no public text")
	assert.Equal(t, hex.EncodeToString(sum[:])[6:22], found["token of dev-ca"])
}

func TestReadable(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	require.NoError(t, os.Chmod(root, 0o755))
	for path, mode := range map[string]fs.FileMode{"open/a": 0o644, "open/secret": 0o640, "closed/a": 0o644,
		"proc/a": 0o644, "log/a": 0o600, "open/program": 0o755, "open/zipped": 0o644} {
		path := filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		content := map[string]string{"program": "\x7fELF", "zipped": string(zipped("text"))}[filepath.Base(path)]
		require.NoError(t, os.WriteFile(path, []byte(content), mode))
		require.NoError(t, os.Chmod(path, mode))
	}
	require.NoError(t, os.Chmod(root+"/closed", 0o700))
	require.NoError(t, os.Chmod(root+"/log", 0o700))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(root, link))
	found := map[string]string{}
	require.NoError(t, readable(link, []string{"/proc"}, "/log",
		func(path string, content []byte) { found[path] = string(content) }))
	assert.Equal(t, map[string]string{"/open/a": "", "/log/a": "", "/open/zipped": "text"}, found)
}
