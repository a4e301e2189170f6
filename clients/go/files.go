package agentruntime

import (
	"bytes"
	"context"
	"io"

	"google.golang.org/grpc"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// The most that one request of an upload carries.
const piece = 1 << 20

// ReadFile tells what a file is, and reads its bytes as they come. Close what it returns, or end the context.
func (c *Client) ReadFile(ctx context.Context, request *v1.ReadFileRequest) (*v1.WorkspaceFile, io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.WorkspaceServiceClient.ReadFile(ctx, request)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return first.GetFile(), &pieces[v1.ReadFileResponse, *v1.ReadFileResponse]{receive: stream.Recv, cancel: cancel}, nil
}

// UploadFile writes a file, or unpacks an archive, all or nothing. If the call has to be made again, the source is read again
// from where it stood.
func (c *Client) UploadFile(ctx context.Context, header *v1.UploadFileHeader, source io.ReadSeeker) (*v1.UploadFileResponse, error) {
	start, err := source.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	header = named(header)
	var response *v1.UploadFileResponse
	var broken error
	err = again(ctx, func() error {
		if _, broken = source.Seek(start, io.SeekStart); broken != nil {
			return nil
		}
		response, err = c.upload(ctx, header, source, &broken)
		if broken != nil {
			return nil
		}
		return err
	})
	if broken != nil {
		return nil, broken
	}
	return response, err
}

func (c *Client) upload(ctx context.Context, header *v1.UploadFileHeader, source io.Reader, broken *error) (*v1.UploadFileResponse, error) {
	// A stream that just ends would pass for the whole file: a broken one is cancelled.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.WorkspaceServiceClient.UploadFile(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&v1.UploadFileRequest{Payload: &v1.UploadFileRequest_Header{Header: header}})
	for err == nil {
		data := make([]byte, piece)
		n, end := io.ReadFull(source, data)
		if n > 0 {
			err = stream.Send(&v1.UploadFileRequest{Payload: &v1.UploadFileRequest_Data{Data: data[:n]}})
		}
		if end == io.EOF || end == io.ErrUnexpectedEOF {
			break
		}
		if end != nil {
			*broken = end
			return nil, end
		}
	}
	// What sending fails with is only that the server hung up; why is its answer.
	return stream.CloseAndRecv()
}

// Blob is what the session names by this hash: an image for example.
func (c *Client) Blob(ctx context.Context, sessionID, sha256 string) ([]byte, error) {
	return readAll(c.ReadBlob(ctx, &v1.ReadBlobRequest{SessionId: sessionID, Sha256: sha256}))
}

// piecesOf are responses that carry a piece of something.
type piecesOf[R any] interface {
	*R
	GetData() []byte
}

func readAll[R any, P piecesOf[R]](stream grpc.ServerStreamingClient[R], err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return io.ReadAll(&pieces[R, P]{receive: stream.Recv, cancel: func() {}})
}

// pieces reads a stream of bytes.
type pieces[R any, P piecesOf[R]] struct {
	receive func() (*R, error)
	cancel  context.CancelFunc
	rest    bytes.Reader
}

func (p *pieces[R, P]) Read(to []byte) (int, error) {
	for p.rest.Len() == 0 {
		response, err := p.receive()
		if err != nil {
			return 0, err
		}
		p.rest.Reset(P(response).GetData())
	}
	return p.rest.Read(to)
}

func (p *pieces[R, P]) Close() error {
	p.cancel()
	return nil
}
