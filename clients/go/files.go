package agentruntime

import (
	"context"
	"io"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// The most that one request of an upload carries.
const piece = 1 << 20

// UploadFile writes a file, or unpacks an archive, all or nothing. If the call has to be made again, the source is read again
// from where it stood.
func (c *Client) UploadFile(ctx context.Context, header *v1.UploadFileHeader, source io.ReadSeeker) (response *v1.UploadFileResponse, err error) {
	start, err := source.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	header = named(header)
	err = c.again(ctx, func() error {
		if _, err := source.Seek(start, io.SeekStart); err != nil {
			return err
		}
		response, err = c.upload(ctx, header, source)
		return err
	})
	return response, err
}

func (c *Client) upload(ctx context.Context, header *v1.UploadFileHeader, source io.Reader) (*v1.UploadFileResponse, error) {
	// A stream that just ends would pass for the whole file: when the source breaks, it is cancelled.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.WorkspaceServiceClient.UploadFile(ctx)
	if err != nil {
		return nil, err
	}
	// What sending fails with is io.EOF when the server hung up; why is its answer.
	hungUp := stream.Send(&v1.UploadFileRequest{Payload: &v1.UploadFileRequest_Header{Header: header}})
	for hungUp == nil {
		data := make([]byte, piece)
		n, err := io.ReadFull(source, data)
		if n > 0 {
			hungUp = stream.Send(&v1.UploadFileRequest{Payload: &v1.UploadFileRequest_Data{Data: data[:n]}})
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if hungUp != nil && hungUp != io.EOF {
		return nil, hungUp
	}
	return stream.CloseAndRecv()
}

// Bytes reads what is streamed in pieces, as in Bytes(client.ReadFile(ctx, request)); so of ReadBlob and ReadBlockContent. The
// context ends it.
func Bytes[R interface{ GetData() []byte }](stream interface{ Recv() (R, error) }, err error) io.Reader {
	return &pieces[R]{stream: stream, err: err}
}

type pieces[R interface{ GetData() []byte }] struct {
	stream interface{ Recv() (R, error) }
	err    error
	rest   []byte
}

func (p *pieces[R]) Read(to []byte) (n int, err error) {
	for len(p.rest) == 0 && p.err == nil {
		var response R
		response, p.err = p.stream.Recv()
		p.rest = response.GetData()
	}
	n = copy(to, p.rest)
	if p.rest = p.rest[n:]; n == 0 {
		return 0, p.err
	}
	return n, nil
}
