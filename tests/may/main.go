// Command may sends requests to etcd at 127.0.0.1 as several users, for tests of their permissions. It reads lines with
// a user, a request and its argument from standard input, and prints each line with the answer: yes, no, or an error.
// One process for all requests is much faster than etcdctl.
//
// The user root has the certificate /etc/etcd/pki/client.crt, and the others have /USER.crt. The user stranger has the
// certificate of a member, whose name is not a user of etcd.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func main() {
	clients := map[string]*clientv3.Client{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		user, rest, _ := strings.Cut(line, " ")
		if user == "" {
			continue
		}
		if clients[user] == nil {
			client, err := connect(user)
			if err != nil {
				log.Fatal(err)
			}
			clients[user] = client
		}
		name, argument, _ := strings.Cut(rest, " ")
		fmt.Printf("%s: %s\n", line, answer(send(clients[user], name, argument)))
	}
}

func connect(user string) (*clientv3.Client, error) {
	certificate := "/" + user
	switch user {
	case "root":
		certificate = "/etc/etcd/pki/client"
	case "stranger":
		certificate = "/etc/etcd/pki/peer"
	}
	config, err := transport.TLSInfo{CertFile: certificate + ".crt", KeyFile: certificate + ".key",
		TrustedCAFile: "/etc/etcd/pki/ca.crt"}.ClientConfig()
	if err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{
		Endpoints: []string{"https://127.0.0.1:2379"}, TLS: config, Logger: zap.NewNop(),
	})
}

func answer(err error) string {
	switch {
	case err == nil:
		return "yes"
	case strings.Contains(err.Error(), "permission denied"), strings.Contains(err.Error(), "user name not found"):
		return "no"
	}
	return err.Error()
}

// send sends a request, whose argument is a key, or the name of a user or role, or the ID of a lease.
func send(client *clientv3.Client, name, argument string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	switch name {
	case "get":
		return failure(client.Get(ctx, argument))
	case "get-serializable":
		return failure(client.Get(ctx, argument, clientv3.WithSerializable()))
	case "get-prefix":
		return failure(client.Get(ctx, argument, clientv3.WithPrefix()))
	case "get-from":
		return failure(client.Get(ctx, argument, clientv3.WithFromKey()))
	case "get-in-txn":
		return failure(client.Txn(ctx).Then(clientv3.OpGet(argument)).Commit())
	case "compare":
		return failure(client.Txn(ctx).If(clientv3.Compare(clientv3.Value(argument), ">", "a")).Commit())
	case "put":
		return failure(client.Put(ctx, argument, "x"))
	case "delete":
		return failure(client.Delete(ctx, argument))
	case "watch":
		first := <-client.Watch(ctx, argument, clientv3.WithCreatedNotify())
		return first.Err()
	case "keys-of-lease", "revoke-lease":
		id, err := strconv.ParseInt(argument, 16, 64)
		switch {
		case err != nil:
			return err
		case name == "revoke-lease":
			return failure(client.Revoke(ctx, clientv3.LeaseID(id)))
		}
		return failure(client.TimeToLive(ctx, clientv3.LeaseID(id), clientv3.WithAttachedKeys()))
	case "add-user":
		return failure(client.UserAddWithOptions(ctx, argument, "", &clientv3.UserAddOptions{NoPassword: true}))
	case "grant-role":
		return failure(client.UserGrantRole(ctx, argument, "root"))
	case "grant-all":
		return failure(client.RoleGrantPermission(ctx, argument, "\x00", "\x00",
			clientv3.PermissionType(clientv3.PermReadWrite)))
	case "disable-auth":
		return failure(client.AuthDisable(ctx))
	case "remove-member":
		return failure(client.MemberRemove(ctx, 1))
	case "compact":
		return failure(client.Compact(ctx, 1))
	case "snapshot":
		content, err := client.Snapshot(ctx)
		if err != nil {
			return err
		}
		return errors.Join(failure(io.Copy(io.Discard, content)), content.Close())
	}
	return fmt.Errorf("unknown request %q", name)
}

// failure drops the response of a request.
func failure[T any](_ T, err error) error { return err }
