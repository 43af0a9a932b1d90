//! One question, one answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::sync::watch;

use super::forward::Forwarder;
use crate::table::{Found, Table};

/// Clients may remember an answer for this many seconds.
const TTL: u32 = 1;
/// What fits into an unfragmented UDP packet on every path (RFC 9715).
const PAYLOAD: u16 = 1232;

/// Answers the questions that come in by one network.
#[derive(Clone)]
pub struct Handler {
    /// The network's name.
    pub network: String,
    /// What is known.
    pub tables: watch::Receiver<Arc<Table>>,
    /// Who knows the rest.
    pub forwarder: Forwarder,
}

/// What is answered from the table.
enum Own {
    Addresses(Vec<Ipv4Addr>),
    Empty,
    Code(ResponseCode),
    Forward,
}

impl Handler {
    fn look_up(&self, table: &Table, asker: IpAddr, name: &Name, wanted: RecordType) -> Own {
        let text = name.to_string().trim_end_matches('.').to_lowercase();
        if let Some(address) = reverse(&text) {
            // Nobody outside knows who has an address of ours.
            let ours = table.is_inside(address) || !table.may_ask_the_world(asker, &self.network);
            return if ours { Own::Code(ResponseCode::NXDomain) } else { Own::Forward };
        }
        // A question for IPv6 comes beside most, and must not take a turn: of two replicas one would get all.
        let turn = matches!(wanted, RecordType::A | RecordType::ANY);
        match table.find(asker, &self.network, &text, turn) {
            Found::Unknown if table.may_ask_the_world(asker, &self.network) => Own::Forward,
            Found::Unknown => Own::Code(ResponseCode::ServFail),
            // "Try again" is the truth, and unlike "no such name" nobody remembers it.
            Found::Addresses(none) if none.is_empty() => Own::Code(ResponseCode::ServFail),
            Found::Addresses(addresses) if turn => Own::Addresses(addresses),
            Found::Addresses(_) => Own::Empty,
        }
    }

    async fn respond<R: ResponseHandler>(&self, request: &Request, mut out: R) -> Option<ResponseInfo> {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = true;
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD).set_version(0);
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if request.edns.is_some() {
            builder.edns(&edns);
        }
        let Ok(info) = request.request_info() else {
            metadata.response_code = ResponseCode::FormErr;
            return out.send_response(builder.build_no_records(metadata)).await.ok();
        };
        if request.metadata.op_code != OpCode::Query || info.query.query_class() != DNSClass::IN {
            metadata.response_code = ResponseCode::NotImp;
            return out.send_response(builder.build_no_records(metadata)).await.ok();
        }
        let name = Name::from(info.query.name().clone());
        let asker = request.src().ip();
        let table = self.tables.borrow().clone();
        match self.look_up(&table, asker, &name, info.query.query_type()) {
            Own::Addresses(addresses) => {
                metadata.authoritative = true;
                let records: Vec<Record> = addresses
                    .into_iter()
                    .map(|address| Record::from_rdata(name.clone(), TTL, RData::A(A(address))))
                    .collect();
                let none: [&Record; 0] = [];
                let response = builder.build(metadata, records.iter(), none, none, none);
                out.send_response(response).await.ok()
            }
            Own::Empty => {
                metadata.authoritative = true;
                out.send_response(builder.build_no_records(metadata)).await.ok()
            }
            Own::Code(code) => {
                metadata.response_code = code;
                out.send_response(builder.build_no_records(metadata)).await.ok()
            }
            Own::Forward => {
                let own: Vec<IpAddr> = table.zones.values().map(|zone| zone.gateway.into()).collect();
                let servers = table.forward_to(asker);
                match self.forwarder.ask(request.as_slice(), request.protocol(), servers, &own).await {
                    Some(answer) => {
                        metadata.response_code = answer.metadata.response_code;
                        metadata.truncation = answer.metadata.truncation;
                        metadata.authentic_data = answer.metadata.authentic_data;
                        let none: [&Record; 0] = [];
                        let response = builder.build(
                            metadata,
                            &answer.answers,
                            &answer.authorities,
                            none,
                            &answer.additionals,
                        );
                        out.send_response(response).await.ok()
                    }
                    None => {
                        metadata.response_code = ResponseCode::ServFail;
                        out.send_response(builder.build_no_records(metadata)).await.ok()
                    }
                }
            }
        }
    }
}

#[tonic::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: hickory_net::runtime::Time>(
        &self,
        request: &Request,
        response_handle: R,
    ) -> ResponseInfo {
        match self.respond(request, response_handle).await {
            Some(info) => info,
            // The asker is gone; the library wants to hear of something all the same.
            None => {
                let metadata = Metadata::new(request.metadata.id, MessageType::Response, OpCode::Query);
                Header { metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}

/// The address that a reverse question is about.
fn reverse(name: &str) -> Option<Ipv4Addr> {
    let mut octets = name.strip_suffix(".in-addr.arpa")?.split('.').rev().map(|part| part.parse::<u8>().ok());
    let address = [octets.next()??, octets.next()??, octets.next()??, octets.next()??];
    octets.next().is_none().then(|| address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reverse_name_is_an_address() {
        assert_eq!(reverse("4.3.192.10.in-addr.arpa"), Some(Ipv4Addr::new(10, 192, 3, 4)));
        assert_eq!(reverse("3.192.10.in-addr.arpa"), None);
        assert_eq!(reverse("web.shop"), None);
    }
}
