package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// firstSegment is the name of the first file of a member's log.
const firstSegment = "0000000000000000-0000000000000000.wal"

// hasData reports whether etcd's log has an entry or a vote. etcd creates the log before it writes the first entry. If
// it is killed in between, a new cluster of one member never elects a leader, because it does not know its member.
// Such a log has neither acknowledged nor voted for anything, so it is no data.
func hasData(dir string) (bool, error) {
	files, err := segments(dir)
	if err != nil || len(files) == 0 {
		return false, err
	}
	if len(files) > 1 || filepath.Base(files[0]) != firstSegment {
		return true, nil
	}
	_, found, err := readSegment(files[0])
	return found, err
}

// memberID returns the ID of the member that wrote the log, or 0 if it cannot be read. etcd itself repairs its log or
// reports the damage.
func memberID(dir string) (uint64, error) {
	files, err := segments(dir)
	if err != nil || len(files) == 0 {
		return 0, err
	}
	id, _, err := readSegment(files[len(files)-1])
	return id, err
}

// segments returns the paths of the log's files in order.
func segments(dir string) (out []string, err error) {
	wal := filepath.Join(dir, "member", "wal")
	files, err := os.ReadDir(wal)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".wal") {
			out = append(out, filepath.Join(wal, f.Name()))
		}
	}
	return out, nil
}

func readSegment(path string) (id uint64, found bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, err
	}
	id, found, err = readLog(bufio.NewReader(f))
	return id, found, errors.Join(err, f.Close())
}

// Types of records, from etcd's package wal. A new log has one record of each other type.
const (
	metadataRecord = 1 // the member's ID
	entryRecord    = 2
	stateRecord    = 3 // the term, and the vote in it
	snapshotRecord = 5 // the last record of a new log
)

// readLog reads the member's ID, and reports whether there is an entry or a vote. It reads up to the first of them. A
// record that it cannot read counts as one. A log that ends before its snapshot record counts as one, too: etcd syncs
// this record before it renames the log to its final name, so a shorter log is damaged.
//
// A record begins with a little-endian integer of 64 bits. Its lower 56 bits are the size of the record. If the highest
// bit is set, the lowest three bits of this byte are the number of bytes of padding. The record is a protobuf message:
// field 1 is the type and field 3 the data. etcd allocates the file in advance, so zeros follow the last record.
func readLog(r *bufio.Reader) (id uint64, found bool, err error) {
	created := false // the log has its snapshot record
	for {
		var header [8]byte
		switch _, err := io.ReadFull(r, header[:]); {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return id, !created, nil
		case err != nil:
			return 0, false, err
		}
		frame := binary.LittleEndian.Uint64(header[:])
		if frame == 0 {
			return id, !created, nil
		}
		size := frame & (1<<56 - 1)
		if frame>>63 == 1 {
			size += frame >> 56 & 0x7
		}
		kind, err := r.Peek(2)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, false, err
		}
		if err != nil || kind[0] != 0x08 || kind[1] == entryRecord || kind[1] == stateRecord || size > 1<<20 {
			return id, true, nil
		}
		record := make([]byte, size)
		switch _, err := io.ReadFull(r, record); {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return id, true, nil
		case err != nil:
			return 0, false, err
		}
		switch kind[1] {
		case metadataRecord:
			_, data := field(record, 3)
			id, _ = field(data, 1)
		case snapshotRecord:
			created = true
		}
	}
}

// field returns a field of a protobuf message, which is an integer or bytes. It returns zeros if there is none.
func field(message []byte, number uint64) (integer uint64, data []byte) {
	for len(message) > 0 {
		key, n := binary.Uvarint(message)
		if n <= 0 {
			break
		}
		message = message[n:]
		value, n := binary.Uvarint(message)
		if n <= 0 {
			break
		}
		message = message[n:]
		var data []byte
		switch key & 7 {
		case 0:
		case 2:
			if value > uint64(len(message)) {
				return 0, nil
			}
			data, message = message[:value], message[value:]
		default:
			return 0, nil
		}
		if key>>3 == number {
			return value, data
		}
	}
	return 0, nil
}
