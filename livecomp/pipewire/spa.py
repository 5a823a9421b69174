"""Numbers of PipeWire's simple plugin API that a picture's format and buffers are agreed on with."""

__all__: list[str] = []

# of a stream: its direction, its target, its flags
INPUT, OUTPUT = 0, 1
ANY = 0xFFFFFFFF
AUTOCONNECT, MAP_BUFFERS, DRIVER, DONT_RECONNECT = 1 << 0, 1 << 2, 1 << 3, 1 << 7

# kinds of objects
FORMAT_OBJECT, BUFFERS_OBJECT, META_OBJECT = 0x40003, 0x40004, 0x40005
# what they are for
ENUM_FORMAT, FORMAT, BUFFERS, META = 3, 4, 5, 6

# keys of a format
MEDIA_TYPE, MEDIA_SUBTYPE = 1, 2
VIDEO_FORMAT, SIZE, RATE, PIXEL_ASPECT = 0x20001, 0x20003, 0x20004, 0x20008
COLOR_RANGE, COLOR_MATRIX, TRANSFER, PRIMARIES = 0x2000C, 0x2000D, 0x2000E, 0x2000F
# and their values
VIDEO = 2
RAW, MJPG = 1, 0x20002
FULL, LIMITED = 1, 2
MATRIX_BT709, MATRIX_BT601 = 3, 4
TRANSFER_SRGB, PRIMARIES_BT709 = 7, 1

# keys of buffers and metadata
COUNT, BLOCKS, BYTES, STRIDE, MEMORY = 1, 2, 3, 4, 6
META_TYPE, META_SIZE = 1, 2
# kinds of memory, a bit each
POINTER, DESCRIPTOR = 1 << 1, 1 << 2
# flags of a chunk, and of a header
CHUNK_CORRUPTED, CHUNK_EMPTY, HEADER_CORRUPTED = 1 << 0, 1 << 1, 1 << 1
