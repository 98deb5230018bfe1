package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"
)

// bgp reads the sessions of BIRD. Without BIRD, all sessions are down, but their names are unknown.
func (m *machine) bgp(_ context.Context, p *page) error {
	if m.bird == "" {
		return nil
	}
	sessions, err := birdSessions(m.bird)
	if err != nil {
		p.add("machine_bird_up", gauge, "1 if BIRD responds.", 0)
		return err
	}
	p.add("machine_bird_up", gauge, "1 if BIRD responds.", 1)
	for _, s := range sessions {
		up := 0.0
		if s.established {
			up = 1
		}
		p.add("machine_bgp_session_up", gauge, "1 if the BGP session is established.", up,
			"peer", s.peer, "protocol", s.protocol)
	}
	return nil
}

// session is a BGP session. The protocol is its name in BIRD, such as Mesh_10_0_0_65, Node_10_0_0_1 or Global_10_0_0_1.
type session struct {
	protocol, peer string
	established    bool
}

// lastLine matches the last line of an answer of BIRD. The other lines have a `-` or blanks instead of the blank.
var lastLine = regexp.MustCompile(`^[0-9]{4} `)

// birdSessions asks BIRD at its control socket, as birdcl does.
func birdSessions(socket string) ([]session, error) {
	conn, err := net.DialTimeout("unix", socket, timeout)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	answer := bufio.NewScanner(conn)
	if !answer.Scan() { // its version
		return nil, errors.Join(errors.New("BIRD does not respond"), answer.Err())
	}
	if _, err := fmt.Fprintln(conn, "show protocols"); err != nil {
		return nil, err
	}
	var out []session
	for answer.Scan() {
		line := answer.Text()
		if lastLine.MatchString(line) {
			if !strings.HasPrefix(line, "0000 ") {
				return nil, fmt.Errorf("BIRD: %s", line)
			}
			return out, nil
		}
		// NAME PROTO TABLE STATE SINCE INFO, behind a code or a blank
		if len(line) > 4 && line[4] == '-' {
			line = line[5:]
		}
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "BGP" {
			_, peer, _ := strings.Cut(fields[0], "_")
			out = append(out, session{
				protocol: fields[0], peer: strings.ReplaceAll(peer, "_", "."),
				established: len(fields) > 5 && fields[5] == "Established",
			})
		}
	}
	return nil, errors.Join(errors.New("BIRD: incomplete answer"), answer.Err())
}
