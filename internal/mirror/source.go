package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"kubernetes-openstack/internal/files"
	"kubernetes-openstack/internal/progress"
)

// Source is the origin of files and images: the hosts of their publishers, or a mirror.
type Source struct{ client http.Client }

// NewSource returns the hosts of the publishers, or the mirror with this URL: https://HOST/PATH then comes from
// MIRROR/HOST/PATH.
func NewSource(mirror string) (*Source, error) {
	if mirror == "" {
		return &Source{http.Client{Transport: transport{}}}, nil
	}
	base, err := url.Parse(mirror)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("UPSTREAM: must be a URL such as http://127.0.0.1:8080, got %q", mirror)
	}
	return &Source{http.Client{Transport: transport{mirror: base.JoinPath("/")}}}, nil
}

// transport refuses everything but https, or sends all requests to the mirror.
type transport struct{ mirror *url.URL }

// RoundTrip sends one request.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if t.mirror != nil {
		request = request.Clone(request.Context())
		query := request.URL.RawQuery
		request.URL = t.mirror.JoinPath(request.URL.Host, request.URL.EscapedPath())
		request.URL.RawQuery, request.Host = query, t.mirror.Host
	} else if request.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s: only https is trusted without UPSTREAM", request.URL)
	}
	return http.DefaultTransport.RoundTrip(request)
}

// Request requests https://ADDRESS from a byte on.
func (s *Source) Request(ctx context.Context, address string, from int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address, nil)
	if err != nil {
		return nil, err
	}
	if from > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	return s.client.Do(request)
}

// Download is the file https://ADDRESS, by its sha256 in hex.
type Download struct{ Address, SHA256 string }

// Download downloads to the path file, unless that has the sha256. The file gets its name when its sha256 is right. The
// next run continues an interrupted download.
func (s *Source) Download(ctx context.Context, d Download, file string, log *progress.Log) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("download %s: %w", d.Address, err)
		}
	}()
	switch sum, err := files.SHA256(file); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case sum == d.SHA256:
		return nil
	default:
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	part, err := os.OpenFile(file+".part", os.O_RDWR|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	begin, hash := time.Now(), sha256.New()
	had, err := io.Copy(hash, part)
	if err != nil {
		return err
	}
	size := had
	response, err := s.Request(ctx, d.Address, had)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusPartialContent:
		log.Printf("download %s, continue at %.1f MB …", d.Address, megabytes(had))
	case http.StatusOK: // the whole file, because the server ignores the range or there is none
		log.Printf("download %s …", d.Address)
		hash.Reset()
		if size, err = part.Seek(0, io.SeekStart); err == nil {
			err = part.Truncate(0)
		}
		if err != nil {
			return err
		}
	case http.StatusRequestedRangeNotSatisfiable: // nothing is missing
		response.Body = http.NoBody
	default:
		return errors.New(response.Status)
	}
	copied, err := io.Copy(io.MultiWriter(part, hash), response.Body)
	size += copied
	if err != nil {
		return fmt.Errorf("stopped after %d bytes, where the next run continues: %w", size, err)
	}
	if sum := fmt.Sprintf("%x", hash.Sum(nil)); sum != d.SHA256 {
		return errors.Join(fmt.Errorf("sha256 is %s, want %s", sum, d.SHA256), os.Remove(part.Name()))
	}
	log.Printf("download %s %.1f MB, %.1f s", d.Address, megabytes(size), time.Since(begin).Seconds())
	return os.Rename(part.Name(), file)
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }

// Fill downloads all files and pulls all images that the folder does not have, four at a time.
func (s *Source) Fill(ctx context.Context, folder string, downloads []Download, images []Image,
	log *progress.Log) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, d := range downloads {
		group.Go(func() error { return s.Download(ctx, d, filepath.Join(folder, d.Address), log) })
	}
	for _, image := range images {
		group.Go(func() error {
			if err := s.Pull(ctx, image, folder, log); err != nil {
				return err
			}
			return Publish(folder, image.Name)
		})
	}
	return group.Wait()
}
