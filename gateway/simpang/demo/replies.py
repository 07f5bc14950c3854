"""What the demo camera answers: a template for each operation of ONVIF Core, Media and Media2."""

from __future__ import annotations

from string import Template

SYSTEM_DATE_AND_TIME = Template(
    "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType>"
    "<tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>UTC0</tt:TZ></tt:TimeZone>"
    "<tt:UTCDateTime><tt:Time><tt:Hour>$hour</tt:Hour><tt:Minute>$minute</tt:Minute>"
    "<tt:Second>$second</tt:Second></tt:Time><tt:Date><tt:Year>$year</tt:Year><tt:Month>$month</tt:Month>"
    "<tt:Day>$day</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime>"
    "</tds:GetSystemDateAndTimeResponse>"
)

DEVICE_INFORMATION = Template(
    "<tds:GetDeviceInformationResponse><tds:Manufacturer>$manufacturer</tds:Manufacturer>"
    "<tds:Model>$model</tds:Model><tds:FirmwareVersion>$firmware</tds:FirmwareVersion>"
    "<tds:SerialNumber>$serial</tds:SerialNumber><tds:HardwareId>$model</tds:HardwareId>"
    "</tds:GetDeviceInformationResponse>"
)

CAPABILITIES = Template(
    "<tds:GetCapabilitiesResponse><tds:Capabilities>"
    "<tt:Device><tt:XAddr>$base/device_service</tt:XAddr></tt:Device>"
    "<tt:Media><tt:XAddr>$base/media_service</tt:XAddr><tt:StreamingCapabilities>"
    "<tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>true</tt:RTP_TCP>"
    "<tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP></tt:StreamingCapabilities></tt:Media>"
    "</tds:Capabilities></tds:GetCapabilitiesResponse>"
)

_SERVICE = (
    "<tds:Service><tds:Namespace>http://www.onvif.org/{0}/wsdl</tds:Namespace>"
    "<tds:XAddr>$base/{1}</tds:XAddr><tds:Version><tt:Major>{2}</tt:Major><tt:Minor>{3}</tt:Minor>"
    "</tds:Version></tds:Service>"
)
SERVICES = Template(
    "<tds:GetServicesResponse>"
    + _SERVICE.format("ver10/device", "device_service", 22, 12)
    + _SERVICE.format("ver10/media", "media_service", 21, 6)
    + _SERVICE.format("ver20/media", "media2_service", 22, 12)
    + "</tds:GetServicesResponse>"
)

DEVICE_SERVICE_CAPABILITIES = Template(
    "<tds:GetServiceCapabilitiesResponse><tds:Capabilities><tds:Network/>"
    '<tds:Security UsernameToken="true" HttpDigest="false"/><tds:System DiscoveryBye="true"/>'
    "</tds:Capabilities></tds:GetServiceCapabilitiesResponse>"
)

SCOPES = Template("<tds:GetScopesResponse>$scopes</tds:GetScopesResponse>")
SCOPE = Template(
    "<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>$scope</tt:ScopeItem></tds:Scopes>"
)

HOSTNAME = Template(
    "<tds:GetHostnameResponse><tds:HostnameInformation><tt:FromDHCP>false</tt:FromDHCP>"
    "<tt:Name>$name</tt:Name></tds:HostnameInformation></tds:GetHostnameResponse>"
)

NETWORK_INTERFACES = Template(
    '<tds:GetNetworkInterfacesResponse><tds:NetworkInterfaces token="eth0"><tt:Enabled>true</tt:Enabled>'
    "<tt:Info><tt:Name>eth0</tt:Name><tt:HwAddress>$mac</tt:HwAddress><tt:MTU>1500</tt:MTU></tt:Info>"
    "<tt:IPv4><tt:Enabled>true</tt:Enabled><tt:Config><tt:Manual><tt:Address>$host</tt:Address>"
    "<tt:PrefixLength>8</tt:PrefixLength></tt:Manual><tt:DHCP>false</tt:DHCP></tt:Config></tt:IPv4>"
    "</tds:NetworkInterfaces></tds:GetNetworkInterfacesResponse>"
)

ENDPOINT_REFERENCE = Template(
    "<tds:GetEndpointReferenceResponse><tds:GUID>$endpoint</tds:GUID></tds:GetEndpointReferenceResponse>"
)

_SOURCE_BODY = (
    "<tt:Name>Source</tt:Name><tt:UseCount>2</tt:UseCount><tt:SourceToken>source</tt:SourceToken>"
    '<tt:Bounds x="0" y="0" width="1280" height="720"/>'
)
VIDEO_SOURCES = Template(
    '<trt:GetVideoSourcesResponse><trt:VideoSources token="source"><tt:Framerate>15</tt:Framerate>'
    "<tt:Resolution><tt:Width>1280</tt:Width><tt:Height>720</tt:Height></tt:Resolution>"
    "</trt:VideoSources></trt:GetVideoSourcesResponse>"
)

MEDIA1_PROFILE = Template(
    '<trt:Profiles token="$token" fixed="true"><tt:Name>$name</tt:Name>'
    '<tt:VideoSourceConfiguration token="source">' + _SOURCE_BODY + "</tt:VideoSourceConfiguration>"
)
_MEDIA1_ENCODER_BODY = (
    "<tt:Name>$name</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding>"
    "<tt:Resolution><tt:Width>$width</tt:Width><tt:Height>$height</tt:Height></tt:Resolution>"
    "<tt:Quality>5</tt:Quality><tt:RateControl><tt:FrameRateLimit>$fps</tt:FrameRateLimit>"
    "<tt:EncodingInterval>1</tt:EncodingInterval><tt:BitrateLimit>$kbps</tt:BitrateLimit></tt:RateControl>"
    "<tt:H264><tt:GovLength>$key_every</tt:GovLength><tt:H264Profile>Baseline</tt:H264Profile></tt:H264>"
    "<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type><tt:IPv4Address>0.0.0.0</tt:IPv4Address></tt:Address>"
    "<tt:Port>0</tt:Port><tt:TTL>0</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast>"
    "<tt:SessionTimeout>PT60S</tt:SessionTimeout>"
)
MEDIA1_PROFILE_ENCODER = Template(
    '<tt:VideoEncoderConfiguration token="$token">' + _MEDIA1_ENCODER_BODY + "</tt:VideoEncoderConfiguration>"
)
MEDIA1_PROFILE_END = "</trt:Profiles>"
MEDIA1_ENCODER = Template(
    '<trt:Configurations token="$token">' + _MEDIA1_ENCODER_BODY + "</trt:Configurations>"
)

MEDIA2_PROFILE = Template('<tr2:Profiles token="$token" fixed="true"><tr2:Name>$name</tr2:Name>')
MEDIA2_SOURCE = '<tr2:VideoSource token="source">' + _SOURCE_BODY + "</tr2:VideoSource>"
_MEDIA2_ENCODER_BODY = (
    "<tt:Name>$name</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>$encoding</tt:Encoding>"
    "<tt:Resolution><tt:Width>$width</tt:Width><tt:Height>$height</tt:Height></tt:Resolution>"
    '<tt:RateControl ConstantBitRate="false"><tt:FrameRateLimit>$fps</tt:FrameRateLimit>'
    "<tt:BitrateLimit>$kbps</tt:BitrateLimit></tt:RateControl><tt:Quality>5</tt:Quality>"
)
_MEDIA2_ENCODER_HEAD = ' token="$token" GovLength="$key_every" Profile="Main">'
MEDIA2_PROFILE_ENCODER = Template(
    "<tr2:VideoEncoder" + _MEDIA2_ENCODER_HEAD + _MEDIA2_ENCODER_BODY + "</tr2:VideoEncoder>"
)
MEDIA2_ENCODER = Template(
    "<tr2:Configurations" + _MEDIA2_ENCODER_HEAD + _MEDIA2_ENCODER_BODY + "</tr2:Configurations>"
)

MEDIA1_STREAM_URI = Template(
    "<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>$uri</tt:Uri>"
    "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>"
    "<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:GetStreamUriResponse>"
)
MEDIA2_STREAM_URI = Template("<tr2:GetStreamUriResponse><tr2:Uri>$uri</tr2:Uri></tr2:GetStreamUriResponse>")
