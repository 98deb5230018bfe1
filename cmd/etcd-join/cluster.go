package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"kubernetes-openstack/internal/etcdctl"
)

// entry is a member in the cluster's own list.
type entry struct {
	ID        json.Number
	Name      string
	PeerURLs  []string
	IsLearner bool
}

// join replaces the entry of this member by a new one at some members with data, and returns the resulting list in the
// format of etcd.
func (m *member) join(ctx context.Context, at []peer) (string, error) {
	list, err := m.list(ctx, at)
	if err != nil {
		return "", err
	}
	restored, err := m.restoredCluster(ctx, at)
	if err != nil {
		return "", err
	}
	if err := m.setRestored(restored); err != nil {
		return "", err
	}
	for _, e := range list {
		if e.Name == m.name || slices.Contains(e.PeerURLs, m.url) {
			if _, err := m.etcdctl(ctx, at, "member", "remove", e.id()); err != nil {
				return "", err
			}
			m.log.Printf("removed the earlier member %s (%s), whose data is lost", e.id(), m.name)
		}
	}
	if _, err := m.etcdctl(ctx, at, "member", "add", m.name, "--learner", "--peer-urls="+m.url); err != nil {
		return "", err
	}
	if list, err = m.list(ctx, at); err != nil {
		return "", err
	}
	var cluster []string
	for _, e := range list {
		for _, u := range e.PeerURLs {
			name := e.Name
			switch {
			case u == m.url:
				name = m.name
			case name == "": // it has never started
				name = e.id()
			}
			cluster = append(cluster, name+"="+u)
		}
	}
	return strings.Join(cluster, ","), nil
}

// promoteOnce promotes this member if it is a learner. Then it writes the marker, and completes a restore.
func (m *member) promoteOnce(ctx context.Context) error {
	all := append([]peer{{m.name, m.url}}, m.others...) // the first member may be the only one
	list, err := m.list(ctx, all)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(e entry) bool { return slices.Contains(e.PeerURLs, m.url) })
	if i < 0 {
		return fmt.Errorf("the cluster has no member with the address %s", m.url)
	}
	if list[i].IsLearner {
		if err := m.promoteLearner(ctx, list[i].id(), list); err != nil {
			return err
		}
		m.log.Printf("%s is a voting member", m.name)
	}
	restored, err := m.restored()
	if err != nil {
		return err
	}
	if err := m.publishRestore(ctx, all, restored); err != nil {
		return err
	}
	return write(m.marker, restored)
}

// promoteLearner requests the promotion from the leader. Another member forwards the request without its user, so the
// leader refuses it.
func (m *member) promoteLearner(ctx context.Context, id string, list []entry) error {
	for _, e := range list {
		if e.IsLearner {
			continue
		}
		at := []peer{{e.Name, e.PeerURLs[0]}}
		out, err := m.etcdctl(ctx, at, "endpoint", "status", "--write-out=json")
		if err != nil {
			continue // list has shown that there is a quorum of the others
		}
		var answers []struct {
			Status struct {
				Header struct {
					MemberID json.Number `json:"member_id"`
				}
				Leader json.Number
			}
		}
		if err := json.Unmarshal(out, &answers); err != nil || len(answers) != 1 {
			return fmt.Errorf("etcdctl endpoint status: unexpected output %q", out)
		}
		if s := answers[0].Status; s.Leader == s.Header.MemberID {
			_, err := m.etcdctl(ctx, at, "member", "promote", id)
			return err
		}
	}
	return errors.New("no other member is the leader")
}

// list returns the members of the cluster. It needs a quorum.
func (m *member) list(ctx context.Context, at []peer) ([]entry, error) {
	out, err := m.etcdctl(ctx, at, "member", "list", "--write-out=json")
	if err != nil {
		return nil, err
	}
	var list struct{ Members []entry }
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("etcdctl member list: %w", err)
	}
	for _, e := range list.Members {
		if _, err := strconv.ParseUint(e.ID.String(), 10, 64); err != nil || len(e.PeerURLs) == 0 {
			return nil, fmt.Errorf("etcdctl member list: unexpected output %q", out)
		}
	}
	return list.Members, nil
}

func has(list []entry, id uint64) bool {
	return slices.ContainsFunc(list, func(e entry) bool { return e.ID.String() == strconv.FormatUint(id, 10) })
}

// id returns the ID as etcdctl expects it.
func (e entry) id() string {
	id, _ := strconv.ParseUint(e.ID.String(), 10, 64) // list has verified it
	return strconv.FormatUint(id, 16)
}

// etcdctl runs etcdctl at the client ports of some members.
func (m *member) etcdctl(ctx context.Context, at []peer, args ...string) ([]byte, error) {
	client := etcdctl.Client{PKI: m.pki}
	for _, p := range at {
		u, err := url.Parse(p.url)
		if err != nil {
			return nil, err
		}
		client.Endpoints = append(client.Endpoints, "https://"+net.JoinHostPort(u.Hostname(), "2379"))
	}
	return client.Run(ctx, args...)
}
