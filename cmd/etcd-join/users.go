package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

// user is a user of etcd. Its name is the common name of a client's certificate. It has the role of its name, and no
// other role.
type user struct {
	name        string
	permissions []permission // of the role
}

// permission lets a role read or write the keys of a range. The range ends before its second key. A range without end
// is a single key.
type permission struct {
	kind     authpb.Permission_Type
	key, end string
}

// String has etcd's notation of a range.
func (p permission) String() string { return fmt.Sprintf("%s [%s, %s)", p.kind, p.key, p.end) }

// readOnly and readWrite are permissions for all keys with a prefix.
func readOnly(prefix string) permission  { return under(authpb.READ, prefix) }
func readWrite(prefix string) permission { return under(authpb.READWRITE, prefix) }

func under(kind authpb.Permission_Type, prefix string) permission {
	return permission{kind, prefix, clientv3.GetPrefixRangeEnd(prefix)}
}

// in reports whether one of the permissions has the same range.
func (p permission) in(all []permission) bool {
	return slices.ContainsFunc(all, func(other permission) bool { return other.key == p.key && other.end == p.end })
}

// etcd has the role root always, with all permissions.
const root = "root"

// calicoResources is the prefix of the keys of Calico's resources.
const calicoResources = "/calico/resources/v3/projectcalico.org/"

// users are all users that etcd needs.
var users = []user{
	{"kube-apiserver", []permission{readWrite("/registry/")}},
	// of control planes
	{"calico", []permission{readWrite("/calico/")}},
	// of workers. Calico's CNI plugin writes workload endpoints and assigns addresses. calico-startup writes the Calico
	// Node and the FelixConfiguration node.NAME, and from Calico 3.29 on it creates the tiers. A worker must not write
	// the keys that all nodes obey: policies, pools and BGP peers.
	{"calico-node", []permission{
		readOnly("/calico/"),
		readWrite("/calico/ipam/v2/"),
		readWrite(calicoResources + "felixconfigurations/node."),
		readWrite(calicoResources + "nodes/"),
		readWrite(calicoResources + "tiers/"),
		readWrite(calicoResources + "workloadendpoints/"),
	}},
	{root, nil},
}

// access is the state of etcd's authentication.
type access struct {
	users   map[string][]string // roles by name
	roles   map[string][]permission
	enabled bool
}

// change is a request that changes the access.
type change struct {
	text  string
	write func(context.Context, clientv3.Auth) error
}

// changes returns the changes that give the desired users exactly their permissions. Other users and roles stay as they
// are. The changes grant before they revoke, so that no client loses a permission in between. They enable
// authentication last, because etcd requires its user root for it.
func changes(now access, desired []user) (out []change) {
	add := func(text string, write func(context.Context, clientv3.Auth) error) {
		out = append(out, change{text, write})
	}
	for _, u := range desired {
		granted, found := now.roles[u.name]
		if !found {
			add("add role "+u.name, func(ctx context.Context, auth clientv3.Auth) error {
				return failure(auth.RoleAdd(ctx, u.name))
			})
		}
		revoke := func(p permission) {
			add(fmt.Sprintf("revoke %s from role %s", p, u.name), func(ctx context.Context, auth clientv3.Auth) error {
				return failure(auth.RoleRevokePermission(ctx, u.name, p.key, p.end))
			})
		}
		for _, p := range u.permissions {
			same := slices.DeleteFunc(slices.Clone(granted), func(g permission) bool { return !g.in([]permission{p}) })
			if slices.Equal(same, []permission{p}) {
				continue
			}
			if len(same) > 0 { // etcd can add a permission for the same range instead of its replacement
				revoke(same[0])
			}
			add(fmt.Sprintf("grant %s to role %s", p, u.name), func(ctx context.Context, auth clientv3.Auth) error {
				return failure(auth.RoleGrantPermission(ctx, u.name, p.key, p.end, clientv3.PermissionType(p.kind)))
			})
		}
		for i, p := range granted {
			if !p.in(u.permissions) && !p.in(granted[:i]) {
				revoke(p)
			}
		}

		roles, found := now.users[u.name]
		if !found {
			add("add user "+u.name, func(ctx context.Context, auth clientv3.Auth) error {
				return failure(auth.UserAddWithOptions(ctx, u.name, "", &clientv3.UserAddOptions{NoPassword: true}))
			})
		}
		if !slices.Contains(roles, u.name) {
			add("grant role "+u.name+" to user "+u.name, func(ctx context.Context, auth clientv3.Auth) error {
				return failure(auth.UserGrantRole(ctx, u.name, u.name))
			})
		}
		for _, role := range roles {
			if role != u.name {
				add(fmt.Sprintf("revoke role %s from user %s", role, u.name),
					func(ctx context.Context, auth clientv3.Auth) error {
						return failure(auth.UserRevokeRole(ctx, u.name, role))
					})
			}
		}
	}
	if !now.enabled {
		add("enable authentication", func(ctx context.Context, auth clientv3.Auth) error {
			return failure(auth.AuthEnable(ctx))
		})
	}
	return out
}

// failure drops the response of a request.
func failure[T any](_ T, err error) error { return err }

// readAccess returns the access of the users.
func readAccess(ctx context.Context, auth clientv3.Auth, all []user) (access, error) {
	now := access{users: map[string][]string{}, roles: map[string][]permission{root: nil}}
	for _, u := range all {
		switch got, err := auth.UserGet(ctx, u.name); {
		case err == nil:
			now.users[u.name] = got.Roles
		case !errors.Is(err, rpctypes.ErrUserNotFound):
			return access{}, fmt.Errorf("read user %s: %w", u.name, err)
		}
		if u.name == root {
			continue
		}
		switch got, err := auth.RoleGet(ctx, u.name); {
		case err == nil:
			now.roles[u.name] = nil
			for _, p := range got.Perm {
				now.roles[u.name] = append(now.roles[u.name], permission{p.PermType, string(p.Key), string(p.RangeEnd)})
			}
		case !errors.Is(err, rpctypes.ErrRoleNotFound):
			return access{}, fmt.Errorf("read role %s: %w", u.name, err)
		}
	}
	status, err := auth.AuthStatus(ctx)
	if err != nil {
		return access{}, fmt.Errorf("read the state of authentication: %w", err)
	}
	now.enabled = status.Enabled
	return now, nil
}

// ensureUsers creates etcd's users with their permissions, and enables authentication. All members run it, in parallel
// or years apart, with the same result. A lock lets one of them run at a time. It writes only differences, because etcd
// refuses all requests that are in flight during a change. A run that was killed leaves only a part of the changes, and
// its lock expires after 10 s.
func ensureUsers(ctx context.Context, client *clientv3.Client, log *log.Logger) error {
	session, err := concurrency.NewSession(client, concurrency.WithTTL(10), concurrency.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("create the lease of the lock: %w", err)
	}
	defer func() { _ = session.Close() }() // otherwise the lease expires
	ctx = session.Ctx()                    // ends with the lease
	if err := concurrency.NewMutex(session, "etcd-auth").Lock(ctx); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	now, err := readAccess(ctx, client, users)
	if err != nil {
		return err
	}
	for _, c := range changes(now, users) {
		if err := c.write(ctx, client); err != nil {
			return fmt.Errorf("%s: %w", c.text, err)
		}
		log.Printf("%s: done", c.text)
	}
	return nil
}

// connect returns a client of a member with the certificate of etcd's user root.
func connect(pki, endpoint string) (*clientv3.Client, error) {
	config, err := tlsConfig(pki, "client")
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: config, Logger: zap.NewNop()})
}
