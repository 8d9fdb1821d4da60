// Follows a log over HTTP with Go's transparency-log client (golang.org/x/mod/sumdb), which shares nothing with ours.
//
//	main URL KEY [OLD_SIZE OLD_ROOT]
//
// Checks the signature of the checkpoint, that every leaf of every entry bundle is in the tree, and that the tree of the
// old size and root is a part of the new one. Prints the size and the root of the checkpoint.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	log.SetFlags(0)
	base := os.Args[1]
	tree, err := checkpoint(base, os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	hashes := tlog.TileHashReader(tree, tiles{base})
	if err := leaves(base, tree, hashes); err != nil {
		log.Fatal(err)
	}
	if len(os.Args) > 3 {
		if err := consistent(tree, hashes, os.Args[3], os.Args[4]); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(tree.N, tree.Hash)
}

// checkpoint reads and verifies the newest checkpoint.
func checkpoint(base, key string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, err
	}
	text, err := get(base + "/checkpoint")
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 3 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), signed.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// leaves checks that each leaf that the log hands out is the one in its tree.
func leaves(base string, tree tlog.Tree, hashes tlog.HashReader) error {
	next := int64(0)
	for next < tree.N {
		tile := tlog.Tile{H: height, L: -1, N: next >> height, W: int(min(tree.N-next, 1<<height))}
		// The client writes tile/8/data/…, with the height that the specification has fixed since.
		data, err := get(base + "/" + strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1))
		if err != nil {
			return err
		}
		for ; len(data) > 0; next++ {
			length := 2 + int(binary.BigEndian.Uint16(data))
			leaf := data[2:length]
			data = data[length:]
			proof, err := tlog.ProveRecord(tree.N, next, hashes)
			if err != nil {
				return err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, next, tlog.RecordHash(leaf)); err != nil {
				return fmt.Errorf("leaf %d: %w", next, err)
			}
		}
	}
	if next != tree.N {
		return fmt.Errorf("%d leaves in a tree of %d", next, tree.N)
	}
	return nil
}

// consistent checks that the tree has grown from the old one.
func consistent(tree tlog.Tree, hashes tlog.HashReader, oldSize, oldRoot string) error {
	size, err := strconv.ParseInt(oldSize, 10, 64)
	if err != nil {
		return err
	}
	root, err := tlog.ParseHash(oldRoot)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(tree.N, size, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, size, root)
}

type tiles struct{ base string }

func (tiles) Height() int { return height }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range wanted {
		data, err := get(t.base + "/" + strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		read = append(read, data)
	}
	return read, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func get(url string) ([]byte, error) {
	answer, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(url + ": " + answer.Status)
	}
	return body, err
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
