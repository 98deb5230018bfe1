package main

import (
	"errors"
	"fmt"
	"strings"

	authentication "k8s.io/api/authentication/v1beta1"

	"kubernetes-openstack/internal/tenancy"
)

// Keys of what k8s-keystone-auth tells of a token besides its user, and of what is added here in the same manner.
const (
	identity   = "alpha.kubernetes.io/identity/"
	projectKey = identity + "project/id"
	rolesKey   = identity + "roles"
	nameKey    = identity + "user/name"
)

// user is whom Kubernetes gets for what k8s-keystone-auth says of a token.
//
// Upstream's user and groups are names that people choose, each domain for itself, and `system:masters` can
// be one. So none is passed on, but in extra, which decides nothing: user and groups are made here of IDs,
// which Keystone chooses, and of roles behind these.
func user(review authentication.TokenReviewStatus) (authentication.UserInfo, error) {
	var none authentication.UserInfo
	if !review.Authenticated { // upstream does not say which of the two it is
		return none, errors.New("Keystone refuses the token, or does not answer")
	}
	userID := review.User.UID
	if err := checkID("user", userID); err != nil {
		return none, err
	}
	projects := review.User.Extra[projectKey]
	if len(projects) != 1 {
		return none, fmt.Errorf("the token of user ID %q must be for one project, not for %d", userID, len(projects))
	}
	projectID := projects[0]
	if err := checkID("project", projectID); err != nil {
		return none, err
	}
	out := authentication.UserInfo{
		Username: tenancy.Username(userID),
		Extra:    map[string]authentication.ExtraValue{},
	}
	for _, role := range review.User.Extra[rolesKey] {
		out.Groups = append(out.Groups, tenancy.Group(projectID, userID, role))
	}
	for key, values := range review.User.Extra {
		if strings.HasPrefix(key, identity) { // Kubernetes gives some others a meaning
			out.Extra[key] = values
		}
	}
	out.Extra[nameKey] = authentication.ExtraValue{review.User.Username}
	return out, nil
}

// checkID refuses what could be taken for something else in the names that are made of it.
func checkID(kind, id string) error {
	if id == "" || strings.Contains(id, ":") {
		return fmt.Errorf("the token's %s ID must be set and have no colon, not %q", kind, id)
	}
	return nil
}
