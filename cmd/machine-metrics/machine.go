package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// machine collects the metrics of this machine. Only its flags decide what it collects, so it works on each role.
type machine struct {
	proc                         string // folder of the kernel's files
	bird, backup                 string // "" for none
	certificates, checks, timers []string
	requests                     requests
	log                          *log.Logger
	mutex                        sync.Mutex // one scrape at a time starts processes
}

// ServeHTTP collects all metrics. If a part of them fails, the others are valid, and machine_errors counts the parts.
func (m *machine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	var p page
	failed := 0
	for _, collect := range []func(context.Context, *page) error{
		m.cpu, m.memory, m.load, m.fileSystems, m.network, m.failedUnits, m.lastRuns, m.bgp, m.expiry, m.runChecks,
		m.pendingRequests, m.newestBackup, m.ownMemory,
	} {
		if err := collect(ctx, &p); err != nil {
			m.log.Print(err)
			failed++
		}
	}
	p.add("machine_errors", gauge, "Number of groups of metrics that could not be read.", float64(failed))
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(p.String())) // Prometheus repeats a scrape
}

// lines returns the lines of a file of the kernel as fields.
func (m *machine) lines(name string) ([][]string, error) {
	text, err := os.ReadFile(filepath.Join(m.proc, name))
	if err != nil {
		return nil, err
	}
	var out [][]string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 {
			out = append(out, fields)
		}
	}
	return out, nil
}

// userHZ is the number of the kernel's units of CPU time in a second.
const userHZ = 100

func (m *machine) cpu(_ context.Context, p *page) error {
	lines, err := m.lines("stat")
	var booted string
	for _, fields := range lines {
		if number, ok := strings.CutPrefix(fields[0], "cpu"); ok && number != "" {
			for i, mode := range []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"} {
				value, err := strconv.ParseFloat(fields[i+1], 64)
				if err != nil {
					return err
				}
				p.add("node_cpu_seconds_total", counter, "Seconds that the processor spent in each mode.", value/userHZ,
					"cpu", number, "mode", mode)
			}
		}
		if fields[0] == "btime" {
			booted = fields[1]
		}
	}
	if err != nil {
		return err
	}
	value, err := strconv.ParseFloat(booted, 64)
	p.add("node_boot_time_seconds", gauge, "Time of the boot in seconds since 1970.", value)
	return err
}

func (m *machine) memory(_ context.Context, p *page) error {
	lines, err := m.lines("meminfo")
	for _, fields := range lines {
		name := strings.TrimSuffix(fields[0], ":")
		if !slices.Contains([]string{"MemTotal", "MemFree", "MemAvailable", "SwapTotal", "SwapFree"}, name) {
			continue
		}
		kib, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return err
		}
		p.add("node_memory_"+name+"_bytes", gauge, name+" of /proc/meminfo.", kib*1024)
	}
	return err
}

func (m *machine) load(_ context.Context, p *page) error {
	lines, err := m.lines("loadavg")
	if err != nil {
		return err
	}
	for i, minutes := range []string{"1", "5", "15"} {
		value, err := strconv.ParseFloat(lines[0][i], 64)
		if err != nil {
			return err
		}
		p.add("node_load"+minutes, gauge, "Load average of "+minutes+" minutes.", value)
	}
	return nil
}

// fileSystems reads the root file system and those of disks, except for volumes of pods, which kubelet exports.
func (m *machine) fileSystems(_ context.Context, p *page) error {
	lines, err := m.lines("self/mounts")
	if err != nil {
		return err
	}
	type fileSystem struct {
		device, path, kind string
		size, available    float64
	}
	first := map[string]fileSystem{} // by device, with the shortest path: units bind-mount parts of a file system
	for _, fields := range lines {
		f := fileSystem{device: fields[0], path: fields[1], kind: fields[2]}
		disk := strings.HasPrefix(f.device, "/dev/") && slices.Contains([]string{"ext4", "xfs", "btrfs", "vfat"}, f.kind)
		if f.path != "/" && !disk || strings.HasPrefix(f.path, "/var/lib/kubelet/") {
			continue
		}
		if other, found := first[f.device]; !found || len(f.path) < len(other.path) {
			first[f.device] = f
		}
	}
	var all []fileSystem
	for _, f := range first {
		var stat syscall.Statfs_t
		if err := syscall.Statfs(f.path, &stat); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		f.size, f.available = float64(stat.Blocks)*float64(stat.Bsize), float64(stat.Bavail)*float64(stat.Bsize)
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b fileSystem) int { return strings.Compare(a.path, b.path) })
	for _, f := range all {
		p.add("node_filesystem_size_bytes", gauge, "Size of a file system.", f.size,
			"device", f.device, "fstype", f.kind, "mountpoint", f.path)
	}
	for _, f := range all {
		p.add("node_filesystem_avail_bytes", gauge, "Space for users without root's reserve.", f.available,
			"device", f.device, "fstype", f.kind, "mountpoint", f.path)
	}
	return nil
}

// network reads the machine's own interfaces, without those of pods.
func (m *machine) network(_ context.Context, p *page) error {
	lines, err := m.lines("net/dev")
	for _, direction := range []struct {
		name, help string
		column     int
	}{
		{"node_network_receive_bytes_total", "Bytes that an interface received.", 1},
		{"node_network_transmit_bytes_total", "Bytes that an interface sent.", 9},
	} {
		for _, fields := range lines {
			device, ok := strings.CutSuffix(fields[0], ":")
			if !ok || device == "lo" || strings.HasPrefix(device, "cali") {
				continue
			}
			value, err := strconv.ParseFloat(fields[direction.column], 64)
			if err != nil {
				return err
			}
			p.add(direction.name, counter, direction.help, value, "device", device)
		}
	}
	return err
}

// output runs a command and returns what it prints.
func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}

func (m *machine) failedUnits(ctx context.Context, p *page) error {
	out, err := output(ctx, "systemctl", "list-units", "--all", "--full", "--plain", "--no-legend", "--state=failed")
	if err != nil {
		return err
	}
	count := 0
	for line := range strings.Lines(out) {
		p.add("node_systemd_unit_state", gauge, "1 for each failed unit.", 1,
			"name", strings.Fields(line)[0], "state", "failed")
		count++
	}
	p.add("node_systemd_units", gauge, "Number of units that have failed.", float64(count), "state", "failed")
	return nil
}

// lastRuns reads when services of timers ended.
func (m *machine) lastRuns(ctx context.Context, p *page) error {
	for _, name := range m.timers {
		out, err := output(ctx, "systemctl", "show", "--timestamp=unix", "--property=ExecMainExitTimestamp", "--value",
			name+".service")
		if err != nil {
			return err
		}
		seconds, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(out), "@"), 64)
		if err != nil {
			continue // it has not run since the boot
		}
		p.add("machine_last_run_timestamp_seconds", gauge, "End of the last run in seconds since 1970.", seconds,
			"service", name)
	}
	return nil
}

// expiry reads all certificates of each file.
func (m *machine) expiry(_ context.Context, p *page) error {
	var errs []error
	for _, pattern := range m.certificates {
		files, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, file := range files {
			first, err := firstExpiry(file)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", file, err))
				continue
			}
			p.add("machine_certificate_expiry_timestamp_seconds", gauge,
				"End of the validity of a file's first certificate to expire, in seconds since 1970.",
				float64(first.Unix()), "file", file)
		}
	}
	return errors.Join(errs...)
}

func firstExpiry(file string) (first time.Time, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return first, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return first, err
		}
		if first.IsZero() || certificate.NotAfter.Before(first) {
			first = certificate.NotAfter
		}
	}
	if first.IsZero() {
		return first, errors.New("must contain a certificate in PEM")
	}
	return first, nil
}

// runChecks runs the checks of bootstrap-report.
func (m *machine) runChecks(ctx context.Context, p *page) error {
	for _, name := range m.checks {
		success := 1.0
		if err := exec.CommandContext(ctx, "check-"+name).Run(); err != nil {
			success = 0
		}
		p.add("machine_check_success", gauge, "1 if check-NAME succeeds.", success, "check", name)
	}
	return nil
}

// firstBackup is the time after the boot in which etcd-backup finds or uploads the first snapshot.
const firstBackup = 2 * time.Hour

// newestBackup reads the status that check-etcd reads.
func (m *machine) newestBackup(_ context.Context, p *page) error {
	if m.backup == "" {
		return nil
	}
	text, err := os.ReadFile(m.backup)
	if errors.Is(err, fs.ErrNotExist) {
		var booted syscall.Sysinfo_t
		if err := syscall.Sysinfo(&booted); err != nil {
			return err
		}
		due := time.Now().Add(firstBackup - time.Duration(booted.Uptime)*time.Second)
		text, err = []byte(strconv.FormatInt(due.Unix(), 10)), nil
	}
	if err != nil {
		return err
	}
	overdue, err := strconv.ParseFloat(strings.Fields(string(text) + " -")[0], 64)
	if err != nil {
		return fmt.Errorf("%s: %w", m.backup, err)
	}
	p.add("machine_etcd_backup_overdue_timestamp_seconds", gauge,
		"Time at which the newest backup of etcd is too old, in seconds since 1970.", overdue)
	return nil
}

func (m *machine) ownMemory(_ context.Context, p *page) error {
	lines, err := m.lines("self/statm")
	if err != nil {
		return err
	}
	pages, err := strconv.ParseFloat(lines[0][1], 64)
	p.add("process_resident_memory_bytes", gauge, "Memory of machine-metrics.", pages*float64(os.Getpagesize()))
	return err
}
