/** Reads the messages between a deployment and Firestore. */
import { protobuf } from 'google-gax';

/** The part of google.firestore.v1 that tests read. */
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Timestamp { int64 seconds = 1; int32 nanos = 2; }
  message Value { string string_value = 17; }
  message Document { string name = 1; map<string, Value> fields = 2; Timestamp update_time = 4; }
  message Write { Document update = 1; string delete = 2; }
  message CommitRequest { repeated Write writes = 2; }
  message BatchGetDocumentsRequest { repeated string documents = 2; }
  message RunQueryResponse { Document document = 1; }
  message DocumentChange { Document document = 1; }
  message ListenResponse { DocumentChange document_change = 3; }
`);

/** A message of this type. */
export const decoded = (type: string, message: Buffer): unknown => {
  const found = root.lookupType(type);
  return found.toObject(found.decode(message));
};
