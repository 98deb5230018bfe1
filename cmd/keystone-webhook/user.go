package main

import (
	"errors"
	"fmt"
	"strings"

	authentication "k8s.io/api/authentication/v1beta1"

	"kubernetes-openstack/internal/tenancy"
)

// Keys of the extra values that k8s-keystone-auth returns. nameKey has the same prefix, and is added here.
const (
	keyPrefix  = "alpha.kubernetes.io/identity/"
	projectKey = keyPrefix + "project/id"
	rolesKey   = keyPrefix + "roles"
	nameKey    = keyPrefix + "user/name"
)

// userInfo returns the Kubernetes user for the status that k8s-keystone-auth returns for a token.
//
// The names of users and groups in the status come from users, who can choose any name in their domain, for example
// `system:masters`. So userInfo does not use these names for the user and the groups. It builds them from IDs, which
// Keystone generates, and appends the roles to the IDs. The names only appear in extra, which grants nothing.
func userInfo(status authentication.TokenReviewStatus) (authentication.UserInfo, error) {
	var none authentication.UserInfo
	if !status.Authenticated { // upstream does not distinguish the two cases
		return none, errors.New("Keystone rejected the token or did not respond")
	}
	userID := status.User.UID
	if err := checkID("user", userID); err != nil {
		return none, err
	}
	projects := status.User.Extra[projectKey]
	if len(projects) != 1 {
		return none, fmt.Errorf("the token of user ID %q must be scoped to one project, not to %d", userID, len(projects))
	}
	projectID := projects[0]
	if err := checkID("project", projectID); err != nil {
		return none, err
	}
	out := authentication.UserInfo{
		Username: tenancy.Username(userID),
		Extra:    map[string]authentication.ExtraValue{},
	}
	for _, role := range status.User.Extra[rolesKey] {
		out.Groups = append(out.Groups, tenancy.Group(projectID, userID, role))
	}
	for key, values := range status.User.Extra {
		if strings.HasPrefix(key, keyPrefix) { // Kubernetes interprets some other keys
			out.Extra[key] = values
		}
	}
	out.Extra[nameKey] = authentication.ExtraValue{status.User.Username}
	return out, nil
}

// checkID returns an error for an ID that would make names ambiguous.
func checkID(kind, id string) error {
	if id == "" || strings.Contains(id, ":") {
		return fmt.Errorf("the %s ID of the token must be set and must not contain a colon, not %q", kind, id)
	}
	return nil
}
