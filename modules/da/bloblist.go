package da

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/celestiaorg/go-square/v3/share"
)

// wireBlob is a blob as it travels. Its commitment is only compared, never kept.
type wireBlob struct {
	namespace  []byte
	data       held
	version    uint64
	commitment []byte
	signer     []byte
}

// blobList is the result of blob.GetAll: the blobs that were kept, or the reason
// why none of them is to be believed.
type blobList struct {
	blobs []Blob
	lie   error
}

// blobCost is what a kept blob counts as beside its data: slices of them grow by
// copies, and data is allocated in classes of sizes.
const blobCost = 2*int(unsafe.Sizeof(Blob{})) + 16

// blobs reads a list of blobs, and checks each before the next one is read.
func (c *Celestia) blobs(r *reply, asked []Namespace) blobList {
	list := blobList{blobs: []Blob{}}
	r.array(func() {
		if list.lie != nil {
			r.skip()
			return
		}
		w := c.blob(r)
		if r.err != nil {
			return
		}
		b, ok, err := c.check(&w, asked)
		if err != nil {
			list = blobList{lie: err}
		}
		if ok {
			list.blobs = append(list.blobs, b)
			err = r.room.claim(blobCost)
		} else {
			err = w.data.free()
		}
		if err != nil {
			r.fail(err)
		}
	})
	return list
}

// blob reads one blob.
func (c *Celestia) blob(r *reply) wireBlob {
	w := wireBlob{data: held{most: c.cfg.MaxBlobBytes, claim: r.room.claim}}
	told := false
	r.object(func(key string) {
		switch {
		case strings.EqualFold(key, "namespace"):
			w.namespace = r.short()
		case strings.EqualFold(key, "data"):
			if told {
				r.syntax("a blob with data twice")
				return
			}
			told = true
			r.base64(&w.data)
		case strings.EqualFold(key, "share_version"):
			w.version = r.number()
		case strings.EqualFold(key, "commitment"):
			w.commitment = r.short()
		case strings.EqualFold(key, "signer"):
			w.signer = r.short()
		default:
			r.skip()
		}
	})
	if r.err == nil {
		if err := w.data.fit(); err != nil {
			r.fail(err)
		}
	}
	return w
}

// short reads a few bytes of base64. What is longer than anything that fits
// there is cut and no base64 any more.
func (s *scanner) short() []byte {
	raw := s.text(maxName)
	out, err := base64.StdEncoding.DecodeString(raw)
	if err != nil {
		s.syntax(fmt.Sprintf("want base64, got %q", raw))
	}
	return out
}

// check makes a blob of what the endpoint sent, with a commitment of our own.
// It is false for a blob to leave out, and an error when no honest endpoint sends it.
func (c *Celestia) check(w *wireBlob, asked []Namespace) (Blob, bool, error) {
	lie := func(what string, args ...any) (Blob, bool, error) {
		c.forged.Add(1)
		return Blob{}, false, fmt.Errorf("%s: %w: a blob of %d bytes %s", methodGetAll, ErrDishonest, len(w.data.data), fmt.Sprintf(what, args...))
	}
	if len(w.namespace) != NamespaceSize || !slices.Contains(asked, Namespace(w.namespace)) {
		return lie("is of namespace %x, which was not asked for", w.namespace)
	}
	switch {
	case len(w.data.data) == 0:
		return lie("cannot be on chain")
	case len(w.data.data) > c.cfg.MaxBlobBytes:
		c.dropped.size.Add(1)
		return Blob{}, false, nil
	case w.version > uint64(share.ShareVersionOne):
		c.dropped.version.Add(1)
		return Blob{}, false, nil
	}
	signer := w.signer
	if len(signer) == 0 {
		signer = nil
	}
	b := Blob{Namespace: Namespace(w.namespace), Data: w.data.data}
	var err error
	b.Commitment, err = commit(b.Namespace, b.Data, uint8(w.version), signer)
	if err != nil {
		return lie("cannot be on chain: %v", err)
	}
	if !bytes.Equal(w.commitment, b.Commitment[:]) {
		return lie("came with commitment %x, its bytes have %s", w.commitment, b.Commitment)
	}
	return b, true, nil
}
