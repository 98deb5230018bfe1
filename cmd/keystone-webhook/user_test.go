package main

import (
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/require"
	authentication "k8s.io/api/authentication/v1beta1"
)

type extra = map[string]authentication.ExtraValue

// alice returns upstream's status of a token of the user alice for one project, after a change.
func alice(change func(*authentication.UserInfo)) authentication.TokenReviewStatus {
	user := authentication.UserInfo{
		Username: "alice",
		UID:      "a11ce",
		Groups:   []string{"developers", "e4d"},
		Extra: extra{
			rolesKey:                     {"member", "reader"},
			projectKey:                   {"e4d"},
			keyPrefix + "project/name":   {"web"},
			keyPrefix + "user/domain/id": {"default"},
		},
	}
	change(&user)
	return authentication.TokenReviewStatus{Authenticated: true, User: user}
}

func TestUser(t *testing.T) {
	got, err := userInfo(alice(func(*authentication.UserInfo) {}))
	require.NoError(t, err)
	require.Equal(t, authentication.UserInfo{
		Username: "keystone:a11ce",
		Groups:   []string{"keystone:e4d:a11ce:member", "keystone:e4d:a11ce:reader"},
		Extra: extra{
			rolesKey:                     {"member", "reader"},
			projectKey:                   {"e4d"},
			keyPrefix + "project/name":   {"web"},
			keyPrefix + "user/domain/id": {"default"},
			nameKey:                      {"alice"},
		},
	}, got)
}

// TestMaliciousNames checks that names of users, groups and roles give no more access.
func TestMaliciousNames(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*authentication.UserInfo)
		user   string
		groups []string
	}{
		"a username of Kubernetes": {
			func(u *authentication.UserInfo) { u.Username = "system:admin" },
			"keystone:a11ce", []string{"keystone:e4d:a11ce:member", "keystone:e4d:a11ce:reader"},
		},
		"the username of another user": {
			func(u *authentication.UserInfo) { u.Username = "keystone:b0b" },
			"keystone:a11ce", []string{"keystone:e4d:a11ce:member", "keystone:e4d:a11ce:reader"},
		},
		"alice of another domain": {
			func(u *authentication.UserInfo) {
				u.UID = "a11ce2"
				u.Extra[keyPrefix+"user/domain/id"] = []string{"other"}
			},
			"keystone:a11ce2", []string{"keystone:e4d:a11ce2:member", "keystone:e4d:a11ce2:reader"},
		},
		"groups of Kubernetes": {
			func(u *authentication.UserInfo) {
				u.Groups = []string{"system:masters", "system:nodes", "keystone:e4d:a11ce:admin"}
			},
			"keystone:a11ce", []string{"keystone:e4d:a11ce:member", "keystone:e4d:a11ce:reader"},
		},
		"a role with the name of a group of Kubernetes": {
			func(u *authentication.UserInfo) { u.Extra[rolesKey] = []string{"system:masters"} },
			"keystone:a11ce", []string{"keystone:e4d:a11ce:system:masters"},
		},
		"a role with the name of another user's group": {
			func(u *authentication.UserInfo) { u.Extra[rolesKey] = []string{"keystone:e4d:b0b:admin", ":admin"} },
			"keystone:a11ce", []string{"keystone:e4d:a11ce:keystone:e4d:b0b:admin", "keystone:e4d:a11ce::admin"},
		},
		"no role": {
			func(u *authentication.UserInfo) { delete(u.Extra, rolesKey) },
			"keystone:a11ce", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := userInfo(alice(test.change))
			require.NoError(t, err)
			require.Equal(t, test.user, got.Username)
			require.Equal(t, test.groups, got.Groups)
		})
	}
}

func TestRefused(t *testing.T) {
	const (
		userID    = "the user ID of the token must be set and must not contain a colon, not "
		projectID = "the project ID of the token must be set and must not contain a colon, not "
	)
	for name, test := range map[string]struct {
		change func(*authentication.UserInfo)
		want   string
	}{
		"no user":                  {func(u *authentication.UserInfo) { u.UID = "" }, userID + `""`},
		"a project in the user ID": {func(u *authentication.UserInfo) { u.UID = "e4d:a11ce" }, userID + `"e4d:a11ce"`},
		"a user of Kubernetes":     {func(u *authentication.UserInfo) { u.UID = "system:admin" }, userID + `"system:admin"`},
		"no project": {func(u *authentication.UserInfo) { delete(u.Extra, projectKey) },
			`the token of user ID "a11ce" must be scoped to one project, not to 0`},
		"two projects": {func(u *authentication.UserInfo) { u.Extra[projectKey] = []string{"e4d", "f00"} },
			`the token of user ID "a11ce" must be scoped to one project, not to 2`},
		"a project without an ID": {func(u *authentication.UserInfo) { u.Extra[projectKey] = []string{""} },
			projectID + `""`},
		"a user in the project ID": {func(u *authentication.UserInfo) { u.Extra[projectKey] = []string{"e4d:b0b"} },
			projectID + `"e4d:b0b"`},
		"a group of Kubernetes": {func(u *authentication.UserInfo) { u.Extra[projectKey] = []string{"system:masters"} },
			projectID + `"system:masters"`},
		"only authenticated": {func(u *authentication.UserInfo) { *u = authentication.UserInfo{} }, userID + `""`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := userInfo(alice(test.change))
			require.EqualError(t, err, test.want)
			require.Zero(t, got)
		})
	}
	rejected := alice(func(*authentication.UserInfo) {})
	rejected.Authenticated = false
	got, err := userInfo(rejected)
	require.EqualError(t, err, "Keystone rejected the token or did not respond")
	require.Zero(t, got)
}

// TestOtherExtraIsDropped checks that keys that Kubernetes interprets are removed. Upstream does not use such keys.
func TestOtherExtraIsDropped(t *testing.T) {
	got, err := userInfo(alice(func(u *authentication.UserInfo) {
		u.Extra["authentication.kubernetes.io/node-name"] = []string{"n1"}
		u.Extra[nameKey] = []string{"bob"}
	}))
	require.NoError(t, err)
	require.NotContains(t, got.Extra, "authentication.kubernetes.io/node-name")
	require.Equal(t, authentication.ExtraValue{"alice"}, got.Extra[nameKey])
}

// randomStatus is a random status of upstream that consists of malicious texts.
type randomStatus authentication.TokenReviewStatus

func (randomStatus) Generate(r *rand.Rand, _ int) reflect.Value {
	text := func() string {
		var out string
		for range r.Intn(4) {
			out += [...]string{"system:", "masters", "keystone:", ":", "a", "b", "e4d", "admin", " ", "\x00", "\n", "ſystem:",
				"*"}[r.Intn(13)]
		}
		return out
	}
	list := func(most int) []string {
		var out []string
		for range r.Intn(most + 1) {
			out = append(out, text())
		}
		return out
	}
	s := randomStatus{
		Authenticated: r.Intn(8) > 0,
		User:          authentication.UserInfo{Username: text(), UID: text(), Groups: list(3), Extra: extra{text(): list(2)}},
		Error:         text(),
		Audiences:     list(1),
	}
	for _, key := range []string{projectKey, projectKey, rolesKey, keyPrefix + "user/domain/name",
		"authentication.kubernetes.io/pod-name"} {
		if r.Intn(5) > 0 {
			s.User.Extra[key] = list(2)
		}
	}
	return reflect.ValueOf(s)
}

// TestNamesAreUnambiguous checks that with any status of upstream, every name belongs to a Keystone user, and contains
// the user, project and role of the token.
func TestNamesAreUnambiguous(t *testing.T) {
	accepted, refused := 0, 0
	check := func(s randomStatus) bool {
		got, err := userInfo(authentication.TokenReviewStatus(s))
		if err != nil {
			refused++
			return reflect.DeepEqual(got, authentication.UserInfo{})
		}
		accepted++
		kind, userID, _ := strings.Cut(got.Username, ":")
		if kind != "keystone" || userID != s.User.UID || got.UID != "" || !s.Authenticated {
			return false
		}
		var project, roles []string
		for _, group := range got.Groups {
			if part := strings.SplitN(group, ":", 4); len(part) == 4 && part[0] == "keystone" && part[2] == userID {
				project, roles = append(project, part[1]), append(roles, part[3])
			}
		}
		for _, p := range project {
			if !slices.Equal(s.User.Extra[projectKey], []string{p}) {
				return false
			}
		}
		for key := range got.Extra {
			if !strings.HasPrefix(key, keyPrefix) {
				return false
			}
		}
		return len(roles) == len(got.Groups) && slices.Equal(roles, s.User.Extra[rolesKey])
	}
	require.NoError(t, quick.Check(check, &quick.Config{MaxCount: 20_000}))
	require.Greater(t, accepted, 500)
	require.Greater(t, refused, 500)
}
