package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// statePath is a path that etcd does not serve.
const statePath = "/etcd-join"

// state is the answer of a member without data.
type state struct {
	Token   string `json:"token"`   // of this run
	Lost    bool   `json:"lost"`    // the machine had data before, or that of the restore
	Restore string `json:"restore"` // RESTORE
}

// answers are the answers of all other members.
type answers struct {
	blank  map[string]state   // the members without data
	lost   []string           // members that had data before; they are blank too
	differ []string           // members with another RESTORE; they are blank too
	data   map[string][]entry // name → the cluster's members, as this member with data lists them
	silent []silence          // possible members that do not answer
}

// withData returns the other members that have data.
func (m *member) withData(got answers) []peer {
	return slices.DeleteFunc(slices.Clone(m.others), func(p peer) bool {
		_, found := got.data[p.name]
		return !found
	})
}

// silence is a possible member that does not answer, and the reason.
type silence struct {
	peer
	cause error
}

func (s silence) String() string { return fmt.Sprintf("%s (%v)", s.name, s.cause) }

// silentOf returns the members that do not answer, and that exist.
func (a answers) silentOf(exists func(peer) bool) (out []string) {
	for _, s := range a.silent {
		if exists(s.peer) {
			out = append(out, s.String())
		}
	}
	return out
}

// planned returns the names of the members that the plan had when the instance was created: the first ones of the
// possible members.
func (m *member) planned() ([]string, error) {
	text, err := os.ReadFile(m.instance)
	if err != nil {
		return nil, fmt.Errorf("cannot read the metadata of the instance: %w", err)
	}
	var data struct {
		DS struct {
			MetaData struct {
				Meta struct {
					Members int `json:"members,string"`
				} `json:"meta"`
			} `json:"meta_data"`
		} `json:"ds"`
	}
	if err := json.Unmarshal(text, &data); err != nil {
		return nil, fmt.Errorf("%s: %w", m.instance, err)
	}
	count := data.DS.MetaData.Meta.Members
	if count < 1 || count > len(m.names) {
		return nil, fmt.Errorf("%s: ds.meta_data.meta.members must be a number from 1 to %d, not %d", m.instance,
			len(m.names), count)
	}
	return m.names[:count], nil
}

// missing describes the members that the cluster lacks. self has no data.
func (a answers) missing(self peer, others []peer) string {
	text := ""
	silent := a.silentOf(func(p peer) bool { // the list of a member that lags can be old
		for _, list := range a.data {
			if slices.ContainsFunc(list, func(e entry) bool { return slices.Contains(e.PeerURLs, p.url) }) {
				return true
			}
		}
		return false
	})
	if len(silent) > 0 {
		text += "; no answer from " + strings.Join(silent, ", ")
	}
	var names, urls []string
	for _, p := range append([]peer{self}, others...) {
		if _, blank := a.blank[p.name]; blank || p == self {
			names, urls = append(names, p.name), append(urls, p.url)
		}
	}
	if len(names) > 1 {
		text += "; no data on " + strings.Join(names, ", ")
	}
	if len(silent) == 0 && len(a.data) > 0 && !slices.ContainsFunc(slices.Collect(maps.Values(a.data)),
		func(list []entry) bool { return hasQuorum(list, urls) }) {
		text += ": data lost, the cluster has no quorum any more: restore a backup"
	}
	return text
}

// hasQuorum returns true if a majority of the voting members in list has an address that is not in blank. The list of
// a member that lags can be old.
func hasQuorum(list []entry, blank []string) bool {
	voters, lost := 0, 0
	for _, e := range list {
		if e.IsLearner {
			continue
		}
		voters++
		if slices.ContainsFunc(blank, func(u string) bool { return slices.Contains(e.PeerURLs, u) }) {
			lost++
		}
	}
	return voters == 0 || voters-lost > voters/2
}

// serve serves the state on the peer port until stop is called.
func (m *member) serve(own state) (stop func() error, err error) {
	config, err := m.tls()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(m.url)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux() // answers other requests with 404, which etcd's peers repeat
	mux.HandleFunc(statePath, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(own) // the client repeats the request
	})
	server := &http.Server{
		Handler: mux, TLSConfig: config, ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = server.ServeTLS(listener, "", "") }() // ends when the server is closed
	return server.Close, nil
}

// tls returns the configuration of both sides of a connection between members.
func (m *member) tls() (*tls.Config, error) { return tlsConfig(m.pki, "peer") }

// tlsConfig returns the configuration of both sides of a connection with a certificate in the folder pki.
func tlsConfig(pki, certificate string) (*tls.Config, error) {
	path := filepath.Join(pki, certificate)
	pair, err := tls.LoadX509KeyPair(path+".crt", path+".key")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(pki, "ca.crt")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	ca := x509.NewCertPool()
	if !ca.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s must contain a certificate", file)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca, RootCAs: ca,
	}, nil
}

func (m *member) client() (*http.Client, error) {
	config, err := m.tls()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true,
			// some of the possible members do not exist
			DialContext: (&net.Dialer{Timeout: time.Second}).DialContext},
	}, nil
}

// ask asks all other members in parallel.
func (m *member) ask(ctx context.Context, client *http.Client) answers {
	got := answers{blank: map[string]state{}, data: map[string][]entry{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, p := range m.others {
		all.Go(func() {
			var s state
			err := get(ctx, client, p.url+statePath, &s)
			var list []entry
			if errors.Is(err, errNotFound) {
				_ = get(ctx, client, p.url+"/members", &list) // only improves a message
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, errNotFound):
				got.data[p.name] = list
			case err != nil:
				got.silent = append(got.silent, silence{p, cause(err)})
			default:
				got.blank[p.name] = s
				if s.Lost {
					got.lost = append(got.lost, p.name)
				}
				if s.Restore != m.restore {
					got.differ = append(got.differ, fmt.Sprintf("%s has %q", p.name, s.Restore))
				}
			}
		})
	}
	all.Wait()
	slices.Sort(got.lost)
	slices.Sort(got.differ)
	slices.SortFunc(got.silent, func(a, b silence) int { return strings.Compare(a.name, b.name) })
	return got
}

var errNotFound = errors.New("HTTP status 404")

// get decodes the response from a member's peer port into value.
func get(ctx context.Context, client *http.Client, address string, value any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(value)
	case http.StatusNotFound:
		return errNotFound
	}
	return fmt.Errorf("HTTP status %d", response.StatusCode)
}

// cause returns the error without the ports and URLs, which differ at each attempt.
func cause(err error) error {
	var network *net.OpError
	var request *url.Error
	switch {
	case errors.As(err, &network):
		return network.Err
	case errors.As(err, &request):
		return request.Err
	}
	return err
}
