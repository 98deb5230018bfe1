package review

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/changes"
	"kubernetes-openstack/tests/golden"
)

var today = time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)

// preview returns the output of `pulumi preview --json` for a stack's file, after edit has changed its text.
func preview(t *testing.T, file string, edit func(string) string, d digest) []byte {
	t.Helper()
	text, err := os.ReadFile("../../" + file)
	require.NoError(t, err)
	var stack struct{ Config map[string]any }
	require.NoError(t, yaml.Unmarshal([]byte(edit(string(text))), &stack))
	object, err := json.Marshal(masked(stack.Config["kubernetes-openstack:cluster"]))
	require.NoError(t, err)
	d.Config = map[string]string{"kubernetes-openstack:cluster": string(object)}
	out, err := json.Marshal(d)
	require.NoError(t, err)
	return out
}

// masked replaces secrets as Pulumi does.
func masked(value any) any {
	switch value := value.(type) {
	case map[string]any:
		if _, secret := value["secure"]; secret {
			return "[secret]"
		}
		for key := range value {
			value[key] = masked(value[key])
		}
	case []any:
		for i := range value {
			value[i] = masked(value[i])
		}
	}
	return value
}

func unedited(text string) string { return text }

// change returns the step of a resource that has both states if it is updated or replaced.
func change(op, kind, name string, inputs map[string]any) step {
	s := step{Op: op, URN: "urn:pulumi:prod::kubernetes-openstack::" + kind + "::" + name}
	if op != "create" {
		s.OldState = &state{Type: kind, Custom: true, Inputs: inputs}
	}
	if op != "delete" {
		s.NewState = &state{Type: kind, Custom: true, Inputs: inputs}
	}
	return s
}

func instance(op, name, flavor string) step {
	return change(op, instanceType, name, map[string]any{"flavorName": flavor, "userData": "hunter2"})
}

// table is the record of the last `up` with the table of the changes, as our provider writes it.
func table(t *testing.T, seconds int, machines ...changes.Change) step {
	t.Helper()
	text, err := json.Marshal(changes.Table{Machines: machines, Seconds: seconds})
	require.NoError(t, err)
	var object any
	require.NoError(t, json.Unmarshal(text, &object))
	return change("update", rolloutType, "prod", map[string]any{"config": "[secret]", "changes": object})
}

func read(t *testing.T, stack string, preview []byte) Review {
	t.Helper()
	r, err := New(stack, preview, today)
	require.NoError(t, err)
	return r
}

// TestComment writes the comment about four stacks. testdata/comment.md shows it.
func TestComment(t *testing.T) {
	unpriced := func(text string) string { return strings.Replace(text, ", d8.2xlarge: 520", "", 1) }
	prod := preview(t, "examples/Pulumi.prod.yaml", unpriced, digest{Steps: []step{
		{Op: "same", URN: "urn:pulumi:prod::kubernetes-openstack::pulumi:pulumi:Stack::prod"},
		instance("create", "prod-general-6", "c16.2xlarge"),
		change("create", "openstack:networking/port:Port", "prod-general-6", nil),
		instance("replace", "prod-etcd-0", "c4.large"),
		instance("delete", "prod-storage-2", "d8.2xlarge"),
		change("delete", "openstack:networking/port:Port", "prod-storage-2", nil),
		change("delete", volumeType, "prod-etcd-4", map[string]any{"size": 20.0, "volumeType": "ssd"}),
		change("update", "kubernetes:apps/v1:Deployment", "kube-system/coredns", nil),
		table(t, 150,
			changes.Change{Machine: "prod-etcd-0", Class: changes.ReplaceMember, Keys: []string{"etcd.flavor", "image.id"},
				Step: 1, AtATime: 1, Seconds: 150},
			changes.Change{Machine: "prod-etcd-1", Class: changes.InPlace, Keys: []string{"etcd.count"}, Step: 1, AtATime: 3},
			changes.Change{Machine: "prod-general-6", Class: changes.New, Keys: []string{"pools[0].count"}, Step: 1, AtATime: 1,
				Seconds: 90},
			changes.Change{Machine: "prod-storage-2", Class: changes.Remove, Keys: []string{"pools[1].count"}, Step: 2,
				AtATime: 1}),
	}})
	public := preview(t, "examples/Pulumi.tenant-network.yaml", unedited, digest{Steps: []step{
		change("create", "openstack:networking/secGroupRule:SecGroupRule", "public-worker-any-from-192.0.2.0/24", nil),
	}})
	open := func(text string) string {
		return strings.Replace(text, "allowedCIDRs: [192.0.2.0/24]", "allowedCIDRs: [0.0.0.0/0]", 1)
	}
	broken := preview(t, "examples/Pulumi.tenant-network.yaml", open, digest{
		Diagnostics: []struct{ Severity, Message string }{
			{"warning", "warning: policy: …"},
			{"error", "error: an unhandled error occurred: program failed: \nkubernetes-openstack:cluster has 1 error:\n" +
				"  api.allowedCIDRs[0]: 0.0.0.0/0 is open to the world.\n"},
			{"info#err", "exit status 32\n"},
		}})
	dev := preview(t, "Pulumi.dev.yaml", unedited, digest{Diagnostics: []struct{ Severity, Message string }{
		{"info#err", "go: downloading a module\n"},
	}})
	reviews := []Review{read(t, "prod", prod), read(t, "public", public), read(t, "broken", broken), read(t, "dev", dev)}
	golden.Check(t, "comment.md", Comment(reviews))
	assert.Equal(t, WholeText(reviews), Comment(reviews))
	var results []Result
	for _, r := range reviews {
		results = append(results, r.Result)
	}
	assert.Equal(t, []Result{RemovesMachines, Changed, Refused, Unchanged}, results)
}

func TestLostData(t *testing.T) {
	kept := change("delete", containerType, "prod-etcd", nil)
	kept.OldState.RetainOnDelete = true
	restore := func(text string) string {
		return strings.Replace(text, "      # restore: prod-", "      restore: prod-", 1)
	}
	for _, row := range []struct {
		name string
		edit func(string) string
		step step
		want []string
	}{
		{"a volume grows", unedited, change("update", volumeType, "prod-etcd-0", map[string]any{"size": 40.0}), nil},
		{"a volume is replaced", unedited, change("replace", volumeType, "prod-etcd-0", map[string]any{"size": 40.0}),
			[]string{"`prod-etcd-0`: the volume of a member of etcd, 40 GiB"}},
		{"a kept container", unedited, kept, nil},
		{"a container", unedited, change("delete", containerType, "prod-etcd", nil),
			[]string{"`prod-etcd`: the container with all backups of etcd"}},
		{"a destroy that keeps data", unedited, change("delete", leftoversType, "prod", map[string]any{"onDestroy": "keep"}),
			nil},
		{"a destroy", unedited, change("delete", leftoversType, "prod", map[string]any{"onDestroy": "delete"}),
			[]string{"all volumes and snapshots of claims in the cluster"}},
		{"a restore", restore, instance("replace", "prod-etcd-0", "c4.large"),
			[]string{"all data of etcd: the snapshot `prod-20270131T120000Z.db` replaces it"}},
		{"a new cluster with a restore", restore, instance("create", "prod-etcd-0", "c4.large"), nil},
		{"after a restore", restore, instance("replace", "prod-general-0", "c4.large"), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := preview(t, "examples/Pulumi.prod.yaml", row.edit, digest{Steps: []step{row.step}})
			assert.Equal(t, row.want, read(t, "prod", text).lost)
		})
	}
}

// TestLimit checks a change of thousands of machines in thirty stacks. The whole text names each of them.
func TestLimit(t *testing.T) {
	var steps []step
	for i := range 120 {
		steps = append(steps, instance("replace", fmt.Sprintf("prod-general-%d", i), "c16.2xlarge"))
	}
	r := read(t, "prod", preview(t, "examples/Pulumi.prod.yaml", unedited, digest{Steps: steps}))
	for _, stacks := range []int{1, 30, 300} {
		var reviews []Review
		for range stacks {
			reviews = append(reviews, r)
		}
		text := Comment(reviews)
		assert.Less(t, len(text), 65_536)
		assert.True(t, utf8.ValidString(text))
		assert.True(t, strings.HasPrefix(text, marker))
		assert.Equal(t, stacks, strings.Count(WholeText(reviews), "`prod-general-119`"))
		assert.Equal(t, stacks == 1, strings.Contains(text, "`prod-general-119`"))
		assert.Equal(t, stacks > 1, strings.Contains(text, "more are in the full text"))
		assert.Equal(t, stacks == 300, strings.Contains(text, "The comment ends here"))
	}
}

// TestLargestComment checks both sides of the limit.
func TestLargestComment(t *testing.T) {
	r := Review{stack: "a", Result: Refused, violations: []string{""}}
	rest := 65_535 - len(WholeText([]Review{r}))
	r.violations[0] = strings.Repeat("a", rest)
	assert.Len(t, Comment([]Review{r}), 65_535)
	r.violations[0] += "a"
	assert.Contains(t, Comment([]Review{r}), "- 1 more are in the full text\n")
}

// TestLimitWithErrors cuts comments at many places. Each block of code ends.
func TestLimitWithErrors(t *testing.T) {
	for length := 30; length < 36; length++ {
		failed := Review{stack: strings.Repeat("ü", length), Result: Refused, errors: []string{"an error"}}
		text := Comment(slices.Repeat([]Review{failed}, 600))
		assert.Less(t, len(text), 65_536)
		assert.True(t, utf8.ValidString(text))
		assert.Zero(t, strings.Count(text, "```")%2)
		assert.Contains(t, text, "The comment ends here")
	}
}

// TestRootVolumes checks that root volumes count like other volumes, in a change and in the whole stack.
func TestRootVolumes(t *testing.T) {
	edit := func(text string) string {
		return strings.Replace(text, "      # rootVolume: ", "      rootVolume: ", 1)
	}
	before := read(t, "prod", preview(t, "examples/Pulumi.prod.yaml", unedited,
		digest{Steps: []step{{Op: "same", URN: "urn:pulumi:prod::kubernetes-openstack::pulumi:pulumi:Stack::prod"}}}))
	created := instance("create", "prod-etcd-0", "c4.large")
	created.NewState.Inputs["blockDevices"] = []any{map[string]any{"volumeSize": 40.0, "volumeType": "ssd"}}
	r := read(t, "prod", preview(t, "examples/Pulumi.prod.yaml", edit, digest{Steps: []step{created}}))
	assert.Equal(t, 1, r.change[unit{volumes, ""}])
	assert.Equal(t, 40, r.change[unit{gigabytes, "ssd"}])
	assert.Equal(t, before.total[unit{volumes, ""}]+5, r.total[unit{volumes, ""}])
	assert.Equal(t, before.total[unit{gigabytes, "ssd"}]+5*40, r.total[unit{gigabytes, "ssd"}])
}

// TestNoSecrets checks that no value of an input is in the text.
func TestNoSecrets(t *testing.T) {
	secret := map[string]any{"userData": "hunter2", "password": "hunter2", "data": map[string]any{"key": "hunter2"}}
	var steps []step
	for _, op := range operations {
		for _, kind := range []string{instanceType, volumeType, containerType, leftoversType, "kubernetes:core/v1:Secret"} {
			steps = append(steps, change(op, kind, "a", secret))
		}
	}
	out := preview(t, "examples/Pulumi.keystone.yaml", unedited, digest{Steps: steps})
	text := WholeText([]Review{read(t, "prod", out)})
	assert.Contains(t, text, "`a`: replace")
	assert.NotContains(t, text, "hunter2")
}

// TestFormat reads keys as Pulumi writes them.
func TestFormat(t *testing.T) {
	r := read(t, "dev", []byte(`{"steps": [{"op": "replace", "urn": "urn:pulumi:dev::p::t$`+instanceType+`::dev-etcd-0",
		"oldState": {"custom": true, "type": "`+instanceType+`", "inputs": {"flavorName": "small"}},
		"newState": {"custom": true, "type": "`+instanceType+`", "inputs": {"flavorName": "large"}},
		"replaceReasons": ["flavorName"], "diffReasons": ["flavorName"], "detailedDiff": null}],
		"duration": 1000, "changeSummary": {"replace": 1}}`))
	assert.Equal(t, []machine{{"dev-etcd-0", "replace"}}, r.machines)
	assert.Equal(t, usage{{instances, ""}: 0, {instances, "small"}: -1, {instances, "large"}: 1}, r.change)
	assert.Equal(t, RemovesMachines, r.Result)

	for _, other := range []string{"error: no stack", "null", "{}", `{"error": "no stack"}`, `{"steps": [`} {
		_, err := New("dev", []byte(other), today)
		assert.ErrorContains(t, err, "must be the output of `pulumi preview --json`", other)
	}
}

// TestFailedPreview checks that one stack without a preview does not prevent the comment about the others.
func TestFailedPreview(t *testing.T) {
	r := read(t, "prod", []byte("\n"))
	assert.Equal(t, Refused, r.Result)
	assert.Contains(t, Comment([]Review{r}), "```text\npulumi has printed no preview. ")
	assert.Contains(t, Comment(nil), "The change touches no stack.")
}

func TestEndOfLife(t *testing.T) {
	for day, want := range map[string]string{
		"2027-03-29": "",
		"2027-03-30": "Kubernetes 1.36 gets no patches after 2027-06-28, in 90 days: plan an upgrade.",
		"2027-06-28": "Kubernetes 1.36 gets no patches after 2027-06-28, in 0 days: plan an upgrade.",
		"2027-06-29": "Kubernetes 1.36 has had no patches since 2027-06-28: upgrade it.",
	} {
		date, err := time.Parse(time.DateOnly, day)
		require.NoError(t, err)
		assert.Equal(t, want, program{"Kubernetes", "1.36"}.endOfLife(date), day)
	}
	assert.Empty(t, program{"Kubernetes", "1.99"}.endOfLife(today), "of the next year")
}

// TestPrograms checks that the ends of life of the default versions are known, and which names of images are
// understood.
func TestPrograms(t *testing.T) {
	text, err := os.ReadFile("../../cluster/testdata/small.yaml")
	require.NoError(t, err)
	encoded, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	config, err := cluster.Decode("prod", string(encoded))
	require.NoError(t, err)
	for image, want := range map[string]program{
		"centos-stream-9":                         {"CentOS Stream", "9"},
		"CentOS-Stream-GenericCloud-9-20270101.0": {"CentOS Stream", "9"},
		"Debian 12":                               {"Debian", "12"},
		"debian-13-genericcloud-amd64":            {"Debian", "13"},
		"golden":                                  {}, "rocky-9": {}, "debian-sid": {}, "": {},
	} {
		config.Image.Name = image
		found := programs(cluster.NewPlan(config))
		if want.name == "" {
			assert.Len(t, found, 3, image)
		} else {
			assert.Equal(t, want, found[len(found)-1], image)
		}
		for _, p := range found {
			assert.NotEmpty(t, endsOfLife[p.name][p.version], "%v", p)
		}
	}
}

// TestHostileTexts checks that texts of others format nothing, notify nobody and load nothing, wherever they are.
func TestHostileTexts(t *testing.T) {
	const hostile = "`a``|@org/team <img src=https://example.com/x> [b](https://example.com)\r\n/close\n```\n# Title\\"
	inputs := map[string]any{"flavorName": hostile, "volumeType": hostile, "size": 1.0, "onDestroy": "delete"}
	d := digest{Diagnostics: []struct{ Severity, Message string }{{"error", hostile}}}
	for _, kind := range []string{instanceType, volumeType, containerType, leftoversType} {
		for _, op := range operations {
			d.Steps = append(d.Steps, change(op, kind, "x", inputs))
			d.Steps[len(d.Steps)-1].URN = hostile // names() would stop at a colon
		}
	}
	edit := func(text string) string {
		for _, replaced := range []string{"currency: EUR", "c4.large", "name: prod ", "general"} {
			require.Contains(t, text, replaced)
		}
		return strings.NewReplacer(
			"currency: EUR", `currency: "@org <img src=x> `+"`|`"+`"`,
			"flavor: c4.large", `flavor: "@org <img src=x> `+"`|`"+`"`,
			"id: 6d1f4d10-5f0c-4a7b-9f5e-0a1b2c3d4e5f", `name: "@org <img src=x> `+"`|`"+`"`,
			"    # policy:", "    policy:", "    #   waivers: ", "      waivers: ",
			"    #     image-by-name: the cloud replaces", `        image-by-name: "@org <img src=x> `+"`|`"+`" #`,
		).Replace(text)
	}
	r := read(t, hostile, preview(t, "examples/Pulumi.prod.yaml", edit, d))
	require.NotNil(t, r.total, "the configuration is valid")
	text := WholeText([]Review{r})
	require.Contains(t, text, "@org/team")
	fence := regexp.MustCompile("(?s)```text\n.*?\n```\n")
	require.Len(t, fence.FindAllString(text, -1), 1)
	text = fence.ReplaceAllString(strings.TrimPrefix(text, marker), "")
	for line := range strings.SplitSeq(text, "\n") {
		outside := outsideCode(t, strings.ReplaceAll(line, "**", ""))
		assert.NotRegexp(t, `@|<|>|://|\[|\\|^/|.#`, strings.TrimLeft(outside, "#"), line)
		if strings.HasPrefix(line, "|") { // a cell ends at each | that has no backslash
			bars := strings.Count(line, "|") - strings.Count(line, `\|`)
			assert.Contains(t, []int{4, 6}, bars, line)
		}
	}
}

// TestHostileTable checks that texts of others cannot end the block with the table of the changes.
func TestHostileTable(t *testing.T) {
	const hostile = "`a` ```\r\n```\n@org/team"
	changed := changes.Change{Machine: hostile, Class: hostile, Keys: []string{hostile}}
	r := read(t, "prod", preview(t, "examples/Pulumi.prod.yaml", unedited, digest{Steps: []step{table(t, 0, changed)}}))
	assert.Equal(t, Unchanged, r.Result, "the record is no change")
	r.Result = Changed
	text := WholeText([]Review{r})
	assert.Equal(t, 2, strings.Count(text, "```"), text)
	assert.Contains(t, text, "@org/team")
}

// TestSecretsInErrors checks that no part of a secret in an error is in the comment.
func TestSecretsInErrors(t *testing.T) {
	d := digest{Diagnostics: []struct{ Severity, Message string }{
		{"error", "error: OS_PASSWORD=hunter2 at https://me:hunter2@example.com"},
		{"info#err", "-----BEGIN PRIVATE KEY-----\nhunter2\nhunter2\n-----END PRIVATE KEY-----\n"},
	}}
	text := WholeText([]Review{read(t, "dev", preview(t, "Pulumi.dev.yaml", unedited, d))})
	assert.Contains(t, text, "OS_PASSWORD=[masked]")
	assert.NotContains(t, text, "hunter2")
}

// TestSecretInConfiguration checks that a reader learns that rules are not checked. Pulumi masks the secret, so the
// configuration of the preview is invalid, and the one of the program is valid.
func TestSecretInConfiguration(t *testing.T) {
	secret := func(text string) string {
		return strings.Replace(text, "authURL: https://keystone.example.com:5000/v3", "authURL: {secure: v1:…}", 1)
	}
	d := digest{Steps: []step{change("create", volumeType, "prod-etcd-0", nil)}}
	r := read(t, "prod", preview(t, "examples/Pulumi.prod.yaml", secret, d))
	assert.Equal(t, Changed, r.Result)
	text := WholeText([]Review{r})
	assert.Contains(t, text, "rules are incomplete, because a secret in the configuration hides a value:")
	assert.Contains(t, text, "openstack.authURL")
}

// TestKeptResources checks that a resource that stays in OpenStack still counts.
func TestKeptResources(t *testing.T) {
	kept := change("replace", volumeType, "prod-etcd-0", map[string]any{"size": 20.0})
	kept.OldState.RetainOnDelete = true
	r := read(t, "prod", preview(t, "examples/Pulumi.prod.yaml", unedited, digest{Steps: []step{kept}}))
	assert.Equal(t, usage{{volumes, ""}: 1, {gigabytes, ""}: 20}, r.change)
	assert.Empty(t, r.lost)
}

// TestUsage compares the quota of a plan with the resources that the program declares for it.
func TestUsage(t *testing.T) {
	for file, graph := range map[string]string{"examples/Pulumi.prod.yaml": "prod", "Pulumi.dev.yaml": "dev"} {
		declared := usage{}
		text, err := os.ReadFile("../../tests/testdata/" + graph + ".golden")
		require.NoError(t, err)
		for line := range strings.SplitSeq(string(text), "\n") {
			kind, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			declared.add(&state{Type: kind, Inputs: map[string]any{"flavorName": "a", "size": 1.0}}, 1)
		}
		r := read(t, graph, preview(t, file, unedited, digest{Steps: []step{change("update", containerType, "a", nil)}}))
		for _, u := range units(declared, r.total) {
			if u.name == "" && u.kind != gigabytes {
				assert.Equal(t, declared[u], r.total[u], "%s: %s", graph, u)
			}
		}
	}
}

// TestQuota checks the column with the available quota, and that the quota of another project is not used.
func TestQuota(t *testing.T) {
	digest := digest{Steps: []step{
		change("create", "openstack:networking/port:Port", "prod-general-6", nil),
		change("create", volumeType, "prod-etcd-3", map[string]any{"size": 20.0, "volumeType": "a"}),
		change("create", volumeType, "prod-etcd-4", map[string]any{"size": 20.0, "volumeType": "b"}),
		change("same", providerType, "prod", map[string]any{"project": "p1"}),
	}}
	r := read(t, "prod", preview(t, "examples/Pulumi.prod.yaml", unedited, digest))
	assert.False(t, r.Compare(Quota{Project: "p2"}))
	assert.NotContains(t, WholeText([]Review{r}), "available")
	assert.True(t, r.Compare(Quota{Project: "p1", Volumes: -1, Gigabytes: 39, Ports: 1}))
	text := WholeText([]Review{r})
	assert.Contains(t, text, "| quota | in total | change | available |\n|---|--:|--:|--:|\n")
	assert.Regexp(t, `\| volumes \| [0-9]+ \| \+2 \|  \|\n`, text, "no limit")
	assert.Regexp(t, `\| GiB of volumes of type a \|[ 0-9]* \| \+20 \| \*\*39, too few\*\* \|\n`, text, "40 of both types")
	assert.Regexp(t, `\| ports \| [0-9]+ \| \+1 \| 1 \|\n`, text)
	assert.True(t, (&Review{}).Compare(Quota{Project: "p1"}), "a new stack")
}

func TestCosts(t *testing.T) {
	r := Review{total: usage{{gigabytes, "a"}: 3}, prices: cluster.Prices{Volumes: map[string]float64{"a": 0.1, "b": 0.3}},
		change: usage{{gigabytes, "a"}: 3, {gigabytes, "b"}: -1}}
	assert.Equal(t, "0.30 (+0.00)", r.costs(), "prices of volumes alone, and a rounding error of the sum")
}
